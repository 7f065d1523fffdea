"""What answers HTTP/1.1 on a port that is for gRPC alone, because what guards the REST port is not there."""

from __future__ import annotations

from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.api.status_codes import MISDIRECTED
from hotserve.codecs.json_response import encode_error

_CALLS_ONLY = (
    "This port answers gRPC calls only, because it is secured in another way than the one for REST. Send REST requests"
    " to the port that --rest_api_port names."
)


class CallsOnly:
    """In the place of `RestApi`; says where to go instead."""

    async def handle(self, request: RestRequest) -> RestResponse:
        """Answers any request."""
        return self.refuse_body(request)

    def refuse_body(self, request: RestRequest) -> RestResponse:
        """Answers any request, whatever its body is."""
        return RestResponse(MISDIRECTED, encode_error(_CALLS_ONLY))

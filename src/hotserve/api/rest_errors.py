"""Errors as the REST API says them."""

from __future__ import annotations

from hotserve.api.compression import UnpacksTooLarge
from hotserve.api.exchange import RestResponse
from hotserve.api.status_codes import CONTENT_TOO_LARGE, HTTP_STATUS
from hotserve.codecs.json_response import encode_error
from hotserve.errors import ServingError


def error_response(error: ServingError) -> RestResponse:
    """The answer to a request that has failed."""
    # HTTP has a status of its own for a body that is too large; 429 would make clients try again.
    status = CONTENT_TOO_LARGE if isinstance(error, UnpacksTooLarge) else HTTP_STATUS[error.code]
    return RestResponse(status, encode_error(error.message))

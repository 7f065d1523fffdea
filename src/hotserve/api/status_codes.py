"""One table: canonical code to HTTP status. gRPC takes the code as it is.

Source: ToHTTPStatusCode in tensorflow_serving/model_servers/http_server.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hotserve.errors import Code

HTTP_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.UNKNOWN: 500,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
        Code.UNAUTHENTICATED: 401,
    }
)

CONTENT_TOO_LARGE = 413
"""What HTTP has beside the table: a body over the limit, which is RESOURCE_EXHAUSTED to gRPC."""

MISDIRECTED = 421
"""A REST request at a port that is for gRPC alone. Source: RFC 9110, section 15.5.20."""

"""What browsers are told about pages of other origins that call the REST API.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol; the headers for any origin are those of
tensorflow_serving/model_servers/http_server.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

CorsPolicy = Callable[[Mapping[str, str]], Mapping[str, str]]
"""From a request's headers, names in lower case, to headers for its answer, names in lower case."""

_ALLOWED = MappingProxyType(
    {"access-control-allow-methods": "POST, GET", "access-control-allow-headers": "Content-Type"}
)
_NOTHING: Mapping[str, str] = MappingProxyType({})
_ANY_ORIGIN: Mapping[str, str] = MappingProxyType({"access-control-allow-origin": "*", **_ALLOWED})
_VARIES = MappingProxyType({"vary": "Origin"})


def no_cors(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Pages of other origins may not read answers: nothing is said."""
    return _NOTHING


def any_origin(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Pages of every origin may."""
    return _ANY_ORIGIN


def listed_origins(origins: Collection[str]) -> CorsPolicy:
    """Pages of these origins may.

    Args:
        origins: As browsers write them: `https://app.example`, `http://localhost:3000`.
    """
    listed = frozenset(origins)

    def policy(headers: Mapping[str, str]) -> Mapping[str, str]:
        origin = headers.get("origin", "")
        if origin not in listed:
            # A cache must not hand this answer, which allows nothing, to a page that is listed.
            return _VARIES
        return {"access-control-allow-origin": origin, **_ALLOWED, **_VARIES}

    return policy

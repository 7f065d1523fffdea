"""`--rest_api_cors_origins`: a list of origins, in the form in which browsers write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from hotserve.errors import ConfigError

# Source: RFC 6454, section 6.2; hosts of other alphabets are written in their ASCII form.
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT_PORTS: Mapping[str, str] = MappingProxyType({"http": "80", "https": "443"})


def parse_origins(text: str) -> tuple[str, ...]:
    """Reads a list of origins.

    Args:
        text: Origins with commas between them.

    Returns:
        The origins as browsers write them: in lower case, and without a port that the scheme implies.

    Raises:
        ConfigError: One of them is no origin.
    """
    return tuple(_origin(item.strip()) for item in text.split(","))


def _origin(text: str) -> str:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--rest_api_cors_origins: {text!r} is no origin. Expected scheme, host and, where it is not the scheme's"
            " own, port, without a path: https://app.example,http://localhost:3000. For pages of every origin, use"
            " --rest_api_enable_cors_support instead."
        )
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if match["port"] in (None, _DEFAULT_PORTS.get(scheme)):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{match['port']}"

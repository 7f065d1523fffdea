from __future__ import annotations

import pytest

from hotserve.config.cors_origins import parse_origins
from hotserve.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example,http://b.example:3000", ("https://a.example", "http://b.example:3000")),
        (" https://a.example , http://b.example", ("https://a.example", "http://b.example")),
        ("HTTPS://A.example", ("https://a.example",)),
        ("https://a.example:443,http://a.example:80", ("https://a.example", "http://a.example")),
        ("https://a.example:80", ("https://a.example:80",)),
        ("http://[::1]:3000", ("http://[::1]:3000",)),
        ("chrome-extension://abcdef", ("chrome-extension://abcdef",)),
    ],
)
def test_origins_are_read_as_browsers_write_them(text: str, origins: tuple[str, ...]) -> None:
    assert parse_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    ["*", "null", "a.example", "https://a.example/", "https://a.example/app", "https://*.example", "https://", ""],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_origins(f"https://good.example,{text}")
    assert caught.value.message.startswith(f"--rest_api_cors_origins: {text!r} is no origin. Expected scheme, host and")

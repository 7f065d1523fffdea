"""The image's HEALTHCHECK: exits with 0 if the server in this container answers, or with 1 and a line that says why.

It needs Python alone, so that the image needs no curl. HEALTHCHECK_URL names another place to ask.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

DEFAULT_URL = "http://127.0.0.1:8501/healthz"

TIMEOUT_SECONDS = 4.0
"""Less than the HEALTHCHECK's own, so that the reason is printed."""


def main() -> None:
    """Asks once."""
    url = os.environ.get("HEALTHCHECK_URL") or DEFAULT_URL
    # No proxy: HTTP_PROXY is for the world outside, and would look for 127.0.0.1 on its own machine.
    opener = build_opener(ProxyHandler({}))
    try:
        opener.open(url, timeout=TIMEOUT_SECONDS).close()
    except (OSError, HTTPException, ValueError) as error:
        sys.exit(f"{url}: {error}. If the server's REST port or host is not the default, set HEALTHCHECK_URL.")


if __name__ == "__main__":
    main()

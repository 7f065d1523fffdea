"""A small REST client, for commands that talk to a running server."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

from hotserve.errors import InvalidArgument, ServingError, Unavailable
from hotserve.loadgen.address import TlsFiles, tls_context
from hotserve.loadgen.target import read_target

_TIMEOUT_SECONDS = 60.0


class RestClient:
    """One connection to a model on a server."""

    def __init__(self, url: str, model_name: str, version: int | None = None, tls: TlsFiles | None = None) -> None:
        """Makes a client; nothing is sent.

        Args:
            url: Where REST answers, such as `http://localhost:8501`; `http://` may be left out.
            model_name: Which model.
            version: Which of its versions; None for the one that it answers with.
            tls: Whom to believe and who asks, where the URL begins with `https`.

        Raises:
            InvalidArgument: The URL is of no kind that can be reached, or a file of `tls` cannot be used.
        """
        expected = "Expected one such as http://localhost:8501."
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise InvalidArgument(f"{url} is no URL of a REST API. {expected}")
            self._connection = (
                http.client.HTTPSConnection(
                    parts.hostname,
                    parts.port,
                    timeout=_TIMEOUT_SECONDS,
                    context=tls_context(read_target(url), tls or TlsFiles()),
                )
                if parts.scheme == "https"
                else http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
            )
        except (ValueError, http.client.InvalidURL) as error:  # a port that is no number, a space in the name
            raise InvalidArgument(f"{url} cannot be read: {error}. {expected}") from error
        self._url = url
        self._path = f"{parts.path.rstrip('/')}/v1/models/{quote(model_name, safe='')}"
        if version is not None:
            self._path += f"/versions/{version}"

    def metadata(self) -> dict[str, Any]:
        """The document that describes the model's signatures.

        Raises:
            Unavailable: The server cannot be reached.
            ServingError: It answers with an error.
        """
        return self._exchange("GET", f"{self._path}/metadata")

    def call(self, verb: str, body: bytes) -> dict[str, Any]:
        """The document that answers a request.

        Args:
            verb: `predict`, `classify` or `regress`.
            body: JSON.

        Raises:
            Unavailable: The server cannot be reached.
            ServingError: It answers with an error.
        """
        return self._exchange("POST", f"{self._path}:{verb}", body)

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"{self._url} does not answer: {error or type(error).__name__}.") from error
        try:
            document = json.loads(data)
        except ValueError as error:
            raise ServingError(f"{self._url} answered {response.status} with no JSON: {data[:200]!r}.") from error
        if response.status != http.HTTPStatus.OK:
            reason = document.get("error", document) if isinstance(document, dict) else document
            raise ServingError(f"{response.status}: {reason}")
        if not isinstance(document, dict):
            raise ServingError(f"{self._url} answered with JSON that is no object: {data[:200]!r}.")
        return document

    def close(self) -> None:
        """Closes the connection; a further request opens it again."""
        self._connection.close()

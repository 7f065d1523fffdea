"""What h2corn, the HTTP server in front, is told for each endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h2corn

from hotserve.config.options import ServerOptions
from hotserve.config.private_files import private_files
from hotserve.config.tls_config import TlsConfig
from hotserve.server.endpoints import Api, Endpoint

_CERTIFICATE, _KEY, _AUTHORITIES = "cert.pem", "key.pem", "authorities.pem"


@contextmanager
def front_config(endpoint: Endpoint, options: ServerOptions, *, both_apis: bool) -> Iterator[h2corn.Config]:
    """The configuration for one endpoint; a server has to start within the block, because keys in files end with it.

    Args:
        endpoint: What is served; it listens.
        options: What the server is told.
        both_apis: Whether a REST endpoint takes gRPC calls, too.
    """
    plain: dict[str, Any] = {
        "bind": (f"fd://{endpoint.bound.fileno()}",),
        "grpc": both_apis or endpoint.api is Api.GRPC,
        "access_log": False,
        "lifespan": "off",
        # The limit on messages is ours, so that the answer can name it.
        "max_request_body_size": 0,
        "timeout_graceful_shutdown": options.drain_timeout_seconds,
        **endpoint.settings,
    }
    if endpoint.tls is None:
        yield h2corn.Config(**plain)
        return
    # h2corn takes paths alone, and reads them as it starts.
    with private_files(_texts(endpoint.tls)) as files:
        yield h2corn.Config(
            **plain,
            certfile=files[_CERTIFICATE],
            keyfile=files[_KEY],
            ca_certs=files.get(_AUTHORITIES),
            cert_reqs="required" if _AUTHORITIES in files else "none",
        )


def _texts(tls: TlsConfig) -> dict[str, str]:
    texts = {_CERTIFICATE: tls.certificate, _KEY: tls.private_key}
    if tls.client_authorities:
        texts[_AUTHORITIES] = tls.client_authorities
    return texts

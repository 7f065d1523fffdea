"""Servers inside the test's own process, with toy models or real folders, on ports of 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotserve import AspiredTarget, AspiredVersion, ModelConfig, ServableId, Server, ServerOptions
from hotserve.core.loader import Loader
from hotserve.core.servable import Servable
from hotserve.platforms.hashmap import TABLE_FILE
from hotserve.server.assemble import SourceThread
from hotserve.sources.static import StaticSource
from support.server_process import free_port

BASE_PATH = Path("/models")


class ObjectLoader:
    """Gives, for a version folder, the servable that a test has made for it."""

    def __init__(self, models: Mapping[str, Mapping[int, Servable]]) -> None:
        self._models = models

    def load(self, path: Path) -> Servable:
        return self._models[path.parent.name][int(path.name)]


def local_options(**options: Any) -> ServerOptions:
    """Options with both ports free and of 127.0.0.1, unless said otherwise."""
    return ServerOptions(**{"host": "127.0.0.1", "port": free_port(), "rest_api_port": free_port(), **options})


def toy_server(models: Mapping[str, Mapping[int, Servable]], loader: Loader | None = None, **options: Any) -> Server:
    """A server of these models, which a source without files aspires; `loader` in place of the models' objects."""

    def source(target: AspiredTarget, configs: object) -> SourceThread:
        return StaticSource(
            target,
            {
                name: [AspiredVersion(ServableId(name, number), BASE_PATH / name / str(number)) for number in versions]
                for name, versions in models.items()
            },
        )

    configs = [ModelConfig(name, BASE_PATH / name) for name in models]
    return Server(
        local_options(**options),
        models=configs,
        source=source,
        loader=lambda model: loader or ObjectLoader(models),
    )


def write_table(folder: Path, **table: str) -> Path:
    """Writes a version of the hashmap platform."""
    folder.mkdir(parents=True)
    (folder / TABLE_FILE).write_text(json.dumps(table))
    return folder


def request(port: int, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    """One request on a connection of its own; status, headers, and the document or the bytes that answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        data = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
    return response.status, headers, json.loads(data) if headers.get("content-type") == "application/json" else data


def predict(port: int, model: str, *instances: Any) -> Any:
    """The predictions of a model that answers."""
    status, _, document = request(port, "POST", f"/v1/models/{model}:predict", {"instances": instances})
    assert status == 200, document
    return document["predictions"]


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def is_free(port: int) -> bool:
    """Whether a port of 127.0.0.1 can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True

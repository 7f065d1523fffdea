from __future__ import annotations

import asyncio
import http.client
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hotserve import Server, State
from hotserve.server import farewell, first_load, lifespan
from hotserve.testing import FakeLoader
from support.embedded import (
    BASE_PATH,
    accepts_connections,
    is_free,
    local_options,
    predict,
    request,
    toy_server,
    write_table,
)
from support.in_process import PATIENCE, Gate, adder
from support.server_process import wait_until

SLOW = BASE_PATH / "slow" / "1"


@pytest.fixture
def held() -> Iterator[FakeLoader]:
    """A loader whose loads wait; whatever a test leaves waiting ends with it."""
    loader = FakeLoader(hold=True)
    yield loader
    loader.finish(SLOW)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


def in_background(action: Callable[[], Any]) -> Future[Any]:
    """Runs something on a thread that a test can leave alone."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(action())
        except BaseException as error:  # noqa: BLE001 - for whoever asks for the result
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


# The start.


def test_ports_open_only_once_the_models_have_loaded(held: FakeLoader) -> None:
    server = toy_server({"slow": {1: adder(1)}}, held)
    starting = in_background(server.start)
    assert held.wait_started(SLOW)
    for port in (server.options.port, server.options.rest_api_port):
        assert not accepts_connections(port)
    held.finish(SLOW)
    starting.result(PATIENCE)
    assert predict(server.options.rest_api_port, "slow", 1.0) == [2.0]
    server.stop()


def test_a_model_that_fails_to_load_opens_the_ports_as_well() -> None:
    loader = FakeLoader()
    loader.fail(SLOW)
    with toy_server({"slow": {1: adder(1)}, "fast": {1: adder(1)}}, loader) as server:
        port = server.options.rest_api_port
        assert predict(port, "fast", 1.0) == [2.0]
        assert request(port, "GET", "/readyz")[0] == 503
        assert request(port, "GET", "/v1/models/slow")[0] == 200


def test_a_model_whose_base_path_is_missing_holds_back_nothing(tmp_path: Path) -> None:
    write_table(tmp_path / "here" / "1", one="eins")
    config = tmp_path / "models.config"
    config.write_text(
        'model_config_list { config { name: "here" base_path: "here" } config { name: "there" base_path: "there" } }'
    )
    with Server(local_options(model_config_file=str(config), file_system_poll_wait_seconds=0.05)) as server:
        port = server.options.rest_api_port
        wait_until(lambda: server.manager.is_available("here"))
        assert predict(port, "here", "one") == ["eins"]
        status, _, body = request(port, "GET", "/readyz")
        document = json.loads(body) if isinstance(body, bytes) else body
        assert (status, document["status"], document["models"]["here"]) == (503, "not ready", "AVAILABLE")
        problem = document["models"]["there"]
        assert problem.startswith(f"Could not find base path {tmp_path / 'there'}")
        for url, words in [
            ("/v1/models/there", "Could not find any versions of model there"),
            ("/v1/models/there/metadata", "Servable not found for request: Latest(there)"),
        ]:
            assert request(port, "GET", url)[::2] == (404, {"error": f"{words}. {problem}"})
        write_table(tmp_path / "there" / "1", one="un")
        wait_until(lambda: request(port, "GET", "/readyz")[0] == 200)
        assert predict(port, "there", "one") == ["un"]


def test_the_start_says_in_the_log_where_it_listens_in_the_words_of_the_original(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "hotserve"), toy_server({"m": {1: adder(1)}}) as server:
        pass
    lines = [record.getMessage() for record in caplog.records if record.name == "hotserve.server.lifespan"]
    assert f"Running gRPC ModelServer at 127.0.0.1:{server.options.port} ..." in lines
    assert f"Exporting HTTP/REST API at:127.0.0.1:{server.options.rest_api_port} ..." in lines


def test_a_load_that_takes_long_is_told_in_the_log_now_and_then(
    held: FakeLoader, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_load, "_LOOK_UP_SECONDS", 0.01)
    monkeypatch.setattr(first_load, "_PATIENCE_SECONDS", 0.01)
    server = toy_server({"slow": {1: adder(1)}}, held)
    with caplog.at_level(logging.INFO, "hotserve"):
        starting = in_background(server.start)
        wait_until(lambda: "Still loading; not available yet: slow" in caplog.messages)
        held.finish(SLOW)
        starting.result(PATIENCE)
        server.stop()


def test_a_stop_while_models_load_does_not_wait_for_them(held: FakeLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespan, "UNLOAD_SECONDS", 0.01)
    server = toy_server({"slow": {1: adder(1)}}, held)

    async def program() -> None:
        ready = asyncio.Event()
        serving = asyncio.create_task(server.serve(ready.set))
        assert await asyncio.to_thread(held.wait_started, SLOW)
        server.request_stop()
        await asyncio.wait_for(serving, PATIENCE)
        assert not ready.is_set()

    asyncio.run(program())
    assert is_free(server.options.port)
    assert is_free(server.options.rest_api_port)


# The stop.


def test_a_request_in_flight_is_answered_after_the_stop_was_asked_for(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "_FAREWELL_SECONDS", 1.0)  # time enough to look at what is said meanwhile
    server = toy_server({"m": {1: gate.servable}})
    server.start()
    port = server.options.rest_api_port
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(request, port, "POST", "/v1/models/m:predict", {"instances": [1.0]})
        gate.wait_entered()
        server.request_stop()

        def readiness() -> Any:
            status, headers, document = request(port, "GET", "/readyz")
            return (status, headers.get("connection"), document) if status == 503 else None

        status, connection, document = wait_until(readiness)
        assert document["status"] == "stopping"
        assert connection == "close"
        wait_until(lambda: not accepts_connections(port))
        assert not answer.done()
        assert not gate.servable.unloaded.is_set()
        gate.open()
        status, headers, document = answer.result(PATIENCE)
    assert (status, document) == (200, {"predictions": [1.0]})
    assert headers["connection"] == "close"
    server.stop()
    assert gate.servable.unloaded.is_set()


def test_an_idle_connection_does_not_hold_the_stop_up() -> None:
    server = toy_server({"m": {1: adder(1)}}, drain_timeout_seconds=1000.0)
    server.start()
    idle = http.client.HTTPConnection("127.0.0.1", server.options.rest_api_port, timeout=PATIENCE)
    idle.request("GET", "/healthz")
    assert idle.getresponse().read() == b'{"status": "alive"}\n'
    in_background(server.stop).result(PATIENCE)
    idle.close()


def test_a_request_that_takes_longer_than_the_drain_is_left_behind(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespan, "UNLOAD_SECONDS", 0.01)
    server = toy_server({"m": {1: gate.servable}}, drain_timeout_seconds=0.1)
    server.start()
    answer = in_background(lambda: predict(server.options.rest_api_port, "m", 1.0))
    gate.wait_entered()
    in_background(server.stop).result(PATIENCE)
    assert answer.exception(PATIENCE) is not None
    # The version is not taken from under the run that goes on, and is unloaded after it.
    assert not gate.servable.unloaded.is_set()
    gate.open()
    assert gate.servable.unloaded.wait(PATIENCE)


def test_a_server_that_preserves_resources_unloads_the_old_version_before_it_loads_the_new_one(tmp_path: Path) -> None:
    write_table(tmp_path / "m" / "1", a="old")
    server = Server(
        local_options(
            model_name="m",
            model_base_path=str(tmp_path / "m"),
            file_system_poll_wait_seconds=0.05,
            aspired_version_policy="resource_preserving",
        )
    )
    seen: list[tuple[int, State]] = []
    server.manager.events.subscribe(lambda status: seen.append((status.id.version, status.state)))
    with server:
        write_table(tmp_path / "m" / "2", a="new")
        wait_until(lambda: (2, State.AVAILABLE) in seen)
        assert seen.index((1, State.END)) < seen.index((2, State.LOADING))

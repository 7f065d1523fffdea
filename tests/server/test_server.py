from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from hotserve import ConfigError, ModelConfig, ModelSpec, Server, ServerOptions
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.protos import messages
from hotserve.tensors import DType
from support.embedded import accepts_connections, is_free, local_options, predict, request, toy_server, write_table
from support.in_process import PATIENCE, PREDICT, Gate, adder
from support.server_process import free_port, wait_until


def predict_over_grpc(port: int, model: str, x: float) -> list[float]:
    message = messages.PredictRequest()
    message.model_spec.name = model
    message.inputs["x"].CopyFrom(encode_tensor(np.float32([x]), DType.FLOAT))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(PREDICT)(message.SerializeToString(), timeout=PATIENCE)
    values: list[float] = decode_tensor(messages.PredictResponse.FromString(answer).outputs["y"]).tolist()
    return values


# With a thread of its own.


def test_a_server_answers_on_both_ports_from_start_to_stop() -> None:
    server = toy_server({"m": {1: adder(1)}})
    options = server.options
    assert not accepts_connections(options.rest_api_port)
    server.start()
    assert predict(options.rest_api_port, "m", 1.0) == [2.0]
    assert predict_over_grpc(options.port, "m", 1.0) == [2.0]
    server.stop()
    assert is_free(options.port)
    assert is_free(options.rest_api_port)


def test_either_port_answers_both_apis() -> None:
    with toy_server({"m": {1: adder(1)}}) as server:
        assert predict(server.options.port, "m", 1.0) == [2.0]
        assert predict_over_grpc(server.options.rest_api_port, "m", 1.0) == [2.0]


def test_a_server_is_a_context_manager() -> None:
    with toy_server({"m": {1: adder(1)}}) as server:
        assert predict(server.options.rest_api_port, "m", 1.0) == [2.0]
    assert not accepts_connections(server.options.rest_api_port)


@pytest.mark.parametrize("off", ["port", "rest_api_port"])
def test_a_port_of_0_is_off(off: str) -> None:
    with toy_server({"m": {1: adder(1)}}, **{off: 0}) as server:
        (port,) = {server.options.port, server.options.rest_api_port} - {0}
        assert predict(port, "m", 1.0) == [2.0]


def test_two_servers_in_one_process_know_nothing_of_each_other() -> None:
    with toy_server({"m": {1: adder(1)}}) as one, toy_server({"m": {1: adder(2)}, "n": {1: adder(3)}}) as two:
        assert predict(one.options.rest_api_port, "m", 1.0) == [2.0]
        assert predict(two.options.rest_api_port, "m", 1.0) == [3.0]
        assert request(one.options.rest_api_port, "GET", "/v1/models/n")[0] == 404
        one.stop()
        assert predict(two.options.rest_api_port, "n", 1.0) == [4.0]


def test_a_server_serves_the_folder_that_its_options_name(tmp_path: Path) -> None:
    write_table(tmp_path / "words" / "1", one="eins")
    options = local_options(model_name="words", model_base_path=str(tmp_path / "words"))
    with Server(options) as server:
        wait_until(lambda: server.manager.is_available("words"))
        assert predict(options.rest_api_port, "words", "one") == ["eins"]
        write_table(tmp_path / "words" / "2", one="uno")
        wait_until(lambda: predict(options.rest_api_port, "words", "one") == ["uno"])


def test_a_server_serves_the_models_of_its_config_file(tmp_path: Path) -> None:
    write_table(tmp_path / "a" / "1", one="eins")
    write_table(tmp_path / "b" / "5", one="un")
    config = tmp_path / "models.config"
    config.write_text(
        'model_config_list { config { name: "de" base_path: "a" }'
        f' config {{ name: "fr" base_path: "{tmp_path}/b" }} }}'
    )
    # As the original has it: with a config file, name and base path of the command line are not looked at.
    with Server(local_options(model_config_file=str(config), model_base_path="/nowhere")) as server:
        wait_until(lambda: server.manager.is_available("de") and server.manager.is_available("fr"))
        assert predict(server.options.rest_api_port, "de", "one") == ["eins"]
        assert predict(server.options.rest_api_port, "fr", "one") == ["un"]


def test_the_manager_of_a_server_leases_versions() -> None:
    with toy_server({"m": {1: adder(1), 2: adder(2)}}) as server:
        with server.manager.lease(ModelSpec("m")) as lease:
            assert lease.id.version == 2
        assert server.manager.model_names() == ("m",)


def test_versions_are_unloaded_at_the_stop() -> None:
    servable = adder(1)
    with toy_server({"m": {1: servable}}):
        assert not servable.unloaded.is_set()
    assert servable.unloaded.is_set()


def test_a_stop_may_come_twice_and_before_the_start() -> None:
    server = toy_server({"m": {1: adder(1)}})
    server.request_stop()
    server.stop()
    server.start()
    server.stop()
    server.stop()
    server.request_stop()


def test_a_server_serves_once() -> None:
    server = toy_server({"m": {1: adder(1)}})
    with server:
        with pytest.raises(RuntimeError, match="a Server serves once; make another one"):
            server.start()
        # The attempt has not disturbed it.
        assert predict(server.options.rest_api_port, "m", 1.0) == [2.0]
    with pytest.raises(RuntimeError, match="a Server serves once"):
        server.start()
    with pytest.raises(RuntimeError, match="a Server serves once"):
        asyncio.run(server.serve())


# Starts that fail.


def test_options_that_name_no_model_are_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"^INVALID_ARGUMENT: Both server_options\.model_base_path and"):
        Server(ServerOptions())
    with pytest.raises(ConfigError, match="--model_name is empty"):
        Server(ServerOptions(model_name="", model_base_path="/models/m"))


def test_a_platform_that_there_is_not_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="m requests unsupported platform nonsense"):
        Server(ServerOptions(), models=[ModelConfig("m", Path("/models/m"), platform="nonsense")])


def test_a_server_without_a_port_does_not_start() -> None:
    server = toy_server({"m": {1: adder(1)}}, port=0, rest_api_port=0)
    with pytest.raises(ConfigError) as caught:
        server.start()
    assert caught.value.message == (
        "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set. Give --port or"
        " --rest_api_port a number other than 0, or --grpc_socket_path a path."
    )


def test_one_port_for_both_apis_is_refused() -> None:
    port = free_port()
    with pytest.raises(ConfigError, match=f"--port and --rest_api_port are both {port}. Give each a port of its own"):
        toy_server({"m": {1: adder(1)}}, port=port, rest_api_port=port).start()


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_in_use_fails_the_start_before_anything_is_loaded(flag: str) -> None:
    servable = adder(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = toy_server({"m": {1: servable}}, **{flag: port})
        with pytest.raises(ConfigError, match=f"Port {port} is in use. Choose another with --{flag}"):
            server.start()
        (other,) = {server.options.port, server.options.rest_api_port} - {port}
        assert is_free(other)
    assert server.manager.status("m") == ()
    # Nothing is left that could be stopped; the reason is told once more.
    with pytest.raises(ConfigError, match=f"Port {port} is in use"):
        server.stop()


# On the loop of another program.


def test_a_server_serves_on_a_loop_that_is_not_its_own() -> None:
    server = toy_server({"m": {1: adder(1)}})

    async def program() -> list[float]:
        ready = asyncio.Event()
        serving = asyncio.create_task(server.serve(ready.set))
        await asyncio.wait_for(ready.wait(), PATIENCE)
        answer: list[float] = await asyncio.to_thread(predict, server.options.rest_api_port, "m", 1.0)
        server.request_stop()
        await asyncio.wait_for(serving, PATIENCE)
        # All it has begun, it has ended.
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answer

    assert asyncio.run(program()) == [2.0]
    assert is_free(server.options.rest_api_port)


def test_two_servers_share_a_loop() -> None:
    one, two = toy_server({"m": {1: adder(1)}}), toy_server({"m": {1: adder(2)}})

    async def program() -> list[list[float]]:
        tasks = []
        for server in (one, two):
            ready = asyncio.Event()
            tasks.append(asyncio.create_task(server.serve(ready.set)))
            await asyncio.wait_for(ready.wait(), PATIENCE)
        answers = [await asyncio.to_thread(predict, server.options.rest_api_port, "m", 1.0) for server in (one, two)]
        for server in (one, two):
            server.request_stop()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        return answers

    assert asyncio.run(program()) == [[2.0], [3.0]]


def test_a_server_whose_task_is_cancelled_stops_in_order() -> None:
    servable = adder(1)
    server = toy_server({"m": {1: servable}})

    async def program() -> None:
        ready = asyncio.Event()
        serving = asyncio.create_task(server.serve(ready.set))
        await asyncio.wait_for(ready.wait(), PATIENCE)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(serving, PATIENCE)

    asyncio.run(program())
    assert servable.unloaded.is_set()
    assert is_free(server.options.rest_api_port)


def test_a_failure_on_readiness_ends_the_server_and_is_raised() -> None:
    server = toy_server({"m": {1: adder(1)}})

    def fail() -> None:
        raise LookupError("no terminal to print to")

    with pytest.raises(LookupError, match="no terminal"):
        asyncio.run(server.serve(fail))
    assert is_free(server.options.rest_api_port)


def test_a_stop_may_be_asked_for_from_any_thread() -> None:
    gate = Gate()
    gate.open()
    server = toy_server({"m": {1: gate.servable}})
    server.start()
    stopper = threading.Thread(target=server.request_stop)
    stopper.start()
    stopper.join()
    wait_until(lambda: not accepts_connections(server.options.rest_api_port))
    server.stop()

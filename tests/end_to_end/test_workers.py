from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, predict_pb2
from tensorflow_serving.config import model_server_config_pb2

from support.controlled_loader import PROGRAM, control_folder, loads_of
from support.embedded import predict, write_table
from support.load import GrpcClient, Outcome, RestClient, predictions, run_clients
from support.server_process import COMMAND, ServerProcess, wait_until
from support.versioned_models import WIDTH, onnx_version, publish

WORKERS = 2
ASKED = 24
"""New connections that ask the same: by chance alone all of them would go to one of two workers once in 2^23 times."""

TESTS = str(Path(__file__).parent.parent)
METRICS = "/monitoring/prometheus/metrics"


def workers_of(server: ServerProcess) -> set[int]:
    """The processes of the workers."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in children.split()}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def everywhere(server: ServerProcess, ask: Callable[[], object]) -> set[object]:
    """The different answers to a question that is asked on many new connections."""
    return {ask() for _ in range(ASKED)}


def metric(server: ServerProcess, pattern: str) -> float:
    """The value of the metric whose line begins with a pattern."""
    found = re.search(rf"^{pattern} (\S+)$", server.get(METRICS)[1].decode(), re.M)
    return float(found[1]) if found else 0.0


class Controlled(ServerProcess):
    """A server of model `m` whose loads the test controls, with version 1 in place.

    Attributes:
        latest: The version that answers.
    """

    def __init__(self, folder: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.base_path = folder / "m"
        self.latest = self._next = 1
        self.add(1)
        super().__init__(
            f"--workers={WORKERS}",
            "--model_name=m",
            f"--model_base_path={self.base_path}",
            *flags,
            command=PROGRAM,
            environment={
                "PYTHONPATH": os.pathsep.join([*os.environ.get("PYTHONPATH", "").split(os.pathsep), TESTS]),
                **(environment or {}),
            },
        )

    def next(self) -> int:
        """The number of a version that is not there yet."""
        self._next += 1
        return self._next

    def add(self, number: int) -> Path:
        """Adds a version."""
        path = self.base_path / str(number)
        path.mkdir(parents=True, exist_ok=True)
        (path / "table").write_text("")
        return path

    def add_held(self) -> tuple[int, Path]:
        """Adds a version whose load every worker has begun; it goes on when the file returned is removed."""
        number = self.next()
        hold = self.control(number, "hold")
        self.add(number)
        wait_until(lambda: len(self.loads(number)) == WORKERS, what="every worker loads it")
        return number, hold

    def control(self, number: int, what: str, text: str = "") -> Path:
        """Controls the loads of a version, before or after it is added."""
        folder = control_folder(self.base_path / str(number))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / what).write_text(text)
        return folder / what

    def loads(self, number: int) -> list[int]:
        """The processes that have begun to load a version."""
        return loads_of(self.base_path / str(number))

    def answer(self) -> float:
        """The number of the version that answers a request on a new connection."""
        return float(predict(self.rest_port, "m", 0.0)[0])

    def asks_for(self, number: int) -> int:
        """The status of a request that names a version, on a new connection."""
        return self.get(f"/v1/models/m/versions/{number}/metadata")[0]

    def listening(self) -> float:
        """How many workers clients can connect to; 0 where the answer is lost with a worker that ends."""
        with contextlib.suppress(OSError):
            return metric(self, r"hotserve_workers_listening\{\}")
        return 0


# The tests of this part share a server, one after the other: each leaves one that answers.


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    with Controlled(tmp_path_factory.mktemp("controlled")) as server:
        yield server


def test_a_version_is_available_when_every_worker_has_it_and_answers_at_each_of_them_then(
    controlled: Controlled,
) -> None:
    old = controlled.latest
    new, hold = controlled.add_held()
    assert set(controlled.loads(new)) == workers_of(controlled)
    slow = controlled.control(new, f"hold-{controlled.loads(new)[-1]}")
    hold.unlink()

    # One worker has it, the other one has not: it answers nowhere.
    assert everywhere(controlled, lambda: controlled.states("m")[new]) == {"LOADING"}
    assert everywhere(controlled, controlled.answer) == {old}
    assert everywhere(controlled, lambda: controlled.asks_for(new)) == {404}

    slow.unlink()
    controlled.wait_state("m", new, "AVAILABLE")
    controlled.latest = new
    assert everywhere(controlled, controlled.answer) == {new}
    controlled.wait_state("m", old, "END")
    assert everywhere(controlled, lambda: controlled.asks_for(old)) == {404}


def test_a_version_that_fails_in_one_worker_fails_in_all_with_that_error_and_the_old_one_goes_on(
    controlled: Controlled,
) -> None:
    new, hold = controlled.add_held()
    controlled.control(new, f"refuse-{controlled.loads(new)[0]}", "no good here")
    hold.unlink()

    controlled.wait_state("m", new, "END")
    assert controlled.status_texts("m")[new] == "no good here"
    assert everywhere(controlled, controlled.answer) == {controlled.latest}
    assert everywhere(controlled, lambda: controlled.get("/readyz")[0]) == {200}


def test_signals_to_a_worker_alone_are_the_supervisors_matter(controlled: Controlled) -> None:
    workers = workers_of(controlled)
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert everywhere(controlled, controlled.answer) == {controlled.latest}
    assert workers_of(controlled) == workers


def test_metrics_are_the_sum_of_all_workers_and_do_not_fall_when_one_ends(controlled: Controlled) -> None:
    requests = (
        rf'hotserve_requests_total\{{model_name="m",version="{controlled.latest}",.*API="predict",.*status="OK"\}}'
    )
    before = metric(controlled, requests)
    for _ in range(ASKED):
        controlled.answer()
    assert everywhere(controlled, lambda: metric(controlled, requests)) == {before + ASKED}
    loaded = {number for number, state in controlled.states("m").items() if not controlled.status_texts("m")[number]}
    # Once for each version, however many workers have loaded it.
    assert metric(controlled, r'hotserve_loads_total\{model_name="m",status="OK"\}') == len(loaded)
    page = controlled.get(METRICS)[1].decode()
    processes = set(re.findall(r'hotserve_process_resident_memory_bytes\{process="(.*)"\}', page))
    assert processes == {"supervisor", "worker 0", "worker 1"}

    os.kill(min(workers_of(controlled)), signal.SIGKILL)
    wait_until(lambda: controlled.listening() == WORKERS - 1, what="its end is known")
    wait_until(lambda: controlled.listening() == WORKERS, what="it is back")
    assert metric(controlled, r"hotserve_worker_restarts_total\{\}") == 1
    assert metric(controlled, requests) == before + ASKED


def test_a_worker_that_ends_in_a_load_is_started_again_and_the_load_with_it(controlled: Controlled) -> None:
    new, hold = controlled.add_held()
    # Not the one that the test before has had started: two quick ends in a row would have it left out.
    controlled.control(new, f"die-{min(controlled.loads(new))}")
    hold.unlink()

    controlled.wait_state("m", new, "AVAILABLE")
    controlled.latest = new
    assert len(controlled.loads(new)) == WORKERS + 1
    assert everywhere(controlled, controlled.answer) == {new}


def test_a_worker_that_cannot_load_what_the_others_answer_with_stays_apart_until_it_can(
    controlled: Controlled,
) -> None:
    refuse = controlled.control(controlled.latest, "refuse", "not just now")
    os.kill(min(workers_of(controlled)), signal.SIGKILL)
    text = f"cannot load {{name: m version: {controlled.latest}}}"
    wait_until(lambda: text in controlled.log(), what="the log says so")
    assert everywhere(controlled, controlled.answer) == {controlled.latest}
    assert controlled.listening() == WORKERS - 1

    refuse.unlink()
    wait_until(lambda: controlled.listening() == WORKERS, what="it is back")
    assert everywhere(controlled, controlled.answer) == {controlled.latest}


def test_a_version_that_ends_the_process_that_loads_it_fails_and_the_server_goes_on(controlled: Controlled) -> None:
    new = controlled.next()
    controlled.control(new, "die")
    controlled.add(new)

    def has_failed() -> bool:
        with contextlib.suppress(OSError):  # while no worker listens
            return controlled.states("m").get(new) == "END"
        return False

    wait_until(has_failed, what="it fails")
    wait_until(lambda: controlled.listening() == WORKERS, what="all workers are back")
    assert "was ended by SIGKILL while it loaded the version" in controlled.status_texts("m")[new]
    assert everywhere(controlled, controlled.answer) == {controlled.latest}


# Those of this part end the server, or never start it.


def test_a_second_signal_ends_all_processes_at_once(tmp_path: Path) -> None:
    with Controlled(tmp_path) as server, socket.create_connection(("127.0.0.1", server.rest_port)) as client:
        workers = workers_of(server)
        body = b'{"instances": [60000]}'  # a run of a minute
        client.sendall(
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        wait_until(lambda: metric(server, r'hotserve_requests_in_flight\{entrypoint="REST"\}') > 0, what="it runs")
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: "Stopping: requests in flight" in server.log(), what="the stop has begun")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit(10) == 128 + signal.SIGTERM
        wait_until(lambda: not any(map(is_alive, workers)), 10, "the workers have ended")


def test_a_worker_whose_event_loop_hangs_is_killed_and_started_again_while_the_others_answer(tmp_path: Path) -> None:
    with Controlled(tmp_path, "--worker_timeout_seconds=2") as server:
        workers = workers_of(server)
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=120)

        def ask(number: float) -> None:
            connection.request("POST", "/v1/models/m:predict", json.dumps({"instances": [number]}))
            assert connection.getresponse().read()

        for _ in range(5):
            ask(0.0)  # what is known to take no time runs on the loop itself
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(600_000.0)  # ten minutes
        wait_until(lambda: len(workers_of(server) & workers) == WORKERS - 1, what="it is gone")
        wait_until(lambda: server.listening() == WORKERS, what="another one has taken its place")
        assert "has not answered for 2 s: its event loop is held up" in server.log()
        assert metric(server, r"hotserve_worker_restarts_total\{\}") == 1
        assert everywhere(server, server.answer) == {1.0}


def test_signals_to_a_worker_that_is_just_being_started_are_the_supervisors_matter_too(tmp_path: Path) -> None:
    server = Controlled(tmp_path)
    server._wait_ready = False
    with server:
        wait_until(lambda: len(workers_of(server)) == WORKERS, what="the workers are there")
        for pid in workers_of(server):
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        server.wait_ready()
        assert metric(server, r"hotserve_worker_restarts_total\{\}") == 0
        assert "KeyboardInterrupt" not in server.log()


def test_a_stop_while_workers_are_started_is_no_error(tmp_path: Path) -> None:
    server = Controlled(tmp_path)
    server._wait_ready = False
    with server:
        wait_until(lambda: len(workers_of(server)) == WORKERS, what="the workers are there")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert " E " not in server.log()
        assert "The supervisor has ended" not in server.log()


def test_a_file_where_the_server_is_started_is_not_taken_for_one_of_python_s_own(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('a file of the user')")
    with ServerProcess("--workers=2", command=(COMMAND, "demo"), cwd=tmp_path) as server:
        assert server.get("/v1/models/digits")[0] == 200


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with Controlled(tmp_path) as server:
        workers = workers_of(server)
        assert all(map(is_alive, workers))
        server.send_signal(signal.SIGKILL)
        server.wait_exit(10)
        wait_until(lambda: not any(map(is_alive, workers)), 10, "the workers have ended")


def test_a_server_whose_workers_can_never_start_ends_and_says_so(tmp_path: Path) -> None:
    server = Controlled(tmp_path, environment={"WORKERS_END": "1"})
    server._wait_ready = False
    with server:
        assert server.wait_exit() != 0
        assert "ended with the exit code 3 before it could serve, 3 times in a row" in server.log()


def test_what_is_wrong_with_the_options_is_said_as_without_workers(tmp_path: Path) -> None:
    server = Controlled(tmp_path, "--custom_op_libraries=/nowhere/ops.so")
    server._wait_ready = False
    with server:
        server.wait_exit()
        assert "/nowhere/ops.so" in server.log()


@pytest.mark.parametrize(("flag", "shares"), [("port", False), ("rest_api_port", True)])
def test_a_port_that_another_program_listens_on_is_an_error_also_if_that_one_would_share_it(
    flag: str, shares: bool, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = Controlled(tmp_path, f"--{flag}={other.getsockname()[1]}")
        server._wait_ready = False
        with server:
            server.wait_exit()
            assert f"Port {other.getsockname()[1]} is in use. Choose another with --{flag}" in server.log()


def test_a_unix_socket_is_shared_and_its_file_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with Controlled(tmp_path, f"--grpc_socket_path={path}") as server:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(make_tensor_proto(np.zeros(1, np.float32)))
        for _ in range(ASKED):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
                call = channel.unary_unary(
                    "/tensorflow.serving.PredictionService/Predict",
                    request_serializer=predict_pb2.PredictRequest.SerializeToString,
                    response_deserializer=predict_pb2.PredictResponse.FromString,
                )
                assert make_ndarray(call(request, timeout=30).outputs["y"]).tolist() == [1.0]
        assert server.stop() == 0
        assert not path.exists()


def test_auto_says_what_it_has_chosen_and_why(tmp_path: Path) -> None:
    onnx_version(tmp_path / "m" / "1", 1)
    with ServerProcess("--workers=auto", "--model_name=m", f"--model_base_path={tmp_path / 'm'}") as server:
        line = re.search(r"--workers=auto: (\d+), each with (\d+) threads for a run: (.*)", server.log())
        assert line is not None
        assert "the slowest run takes" in line[3]
        # The supervisor runs no model, and has no engine.
        assert "onnxruntime" not in Path(f"/proc/{server.pid}/maps").read_text()
        assert "onnxruntime" in Path(f"/proc/{min(workers_of(server))}/maps").read_text()
        assert len(workers_of(server)) == int(line[1])
        assert predict(server.rest_port, "m", [0] * WIDTH) == [[1.0] * WIDTH]


# A reload over gRPC.


def config_of(folder: Path, *names: str, label: int | None = None) -> model_management_pb2.ReloadConfigRequest:
    config = model_server_config_pb2.ModelServerConfig()
    for name in names:
        model = config.model_config_list.config.add(name=name, base_path=str(folder / name))
        model.model_version_policy.all.SetInParent()
        if label is not None:
            model.version_labels["stable"] = label
    return model_management_pb2.ReloadConfigRequest(config=config)


def test_a_reload_that_reaches_any_worker_is_in_effect_at_all_of_them_when_it_is_answered(tmp_path: Path) -> None:
    write_table(tmp_path / "a" / "1", one="eins")
    write_table(tmp_path / "a" / "2", one="EINS")
    write_table(tmp_path / "b" / "1", one="un")
    with ServerProcess(f"--workers={WORKERS}", "--model_name=b", f"--model_base_path={tmp_path / 'b'}") as server:

        def reload(request: model_management_pb2.ReloadConfigRequest) -> None:
            # Each time on a connection of its own, and so to one worker or another.
            with grpc.insecure_channel(server.grpc_target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = model_service_pb2_grpc.ModelServiceStub(channel)
                response = stub.HandleReloadConfigRequest(request, timeout=30)
                assert (response.status.error_code, response.status.error_message) == (0, "")

        def stable() -> str:
            return str(predict(server.rest_port, "a/labels/stable", "one")[0])

        for _ in range(2):
            reload(config_of(tmp_path, "a", "b", label=1))
            assert everywhere(server, stable) == {"eins"}
            reload(config_of(tmp_path, "a", label=2))
            assert everywhere(server, stable) == {"EINS"}
            assert everywhere(server, lambda: server.get("/readyz")[0]) == {200}
            server.wait_state("b", 1, "END")
        assert everywhere(server, lambda: server.post("/v1/models/b:predict", {"instances": ["one"]})[0]) == {404}


# Under load.


class Load:
    """Clients over REST and gRPC that ask model `m` for `y`, which tells the version that answers."""

    CONNECTIONS = 8

    def __init__(self, server: ServerProcess, versions: set[float]) -> None:
        body = b'{"instances": %s}' % str([[0] * WIDTH]).encode()
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(make_tensor_proto(np.zeros((1, WIDTH), np.float32)))

        def right(values: np.ndarray) -> str | None:
            seen = set(values.ravel().tolist())
            self.seen |= seen
            return None if len(seen) == 1 and seen <= versions else f"wrong answer: {values}"

        self.seen: set[float] = set()
        self.rest, self.grpc = Outcome(), Outcome()
        self.stop = asyncio.Event()
        path = "/v1/models/m:predict"
        clients: list[RestClient | GrpcClient] = [
            RestClient("127.0.0.1", server.rest_port, path, body, lambda b: right(np.array(predictions(b))))
            for _ in range(self.CONNECTIONS)
        ]
        clients += [
            GrpcClient(server.grpc_target, request, lambda a: right(make_ndarray(a.outputs["y"])))
            for _ in range(self.CONNECTIONS)
        ]
        outcomes = [self.rest] * self.CONNECTIONS + [self.grpc] * self.CONNECTIONS
        self.running = asyncio.create_task(run_clients(clients, self.stop, outcomes))

    async def answers(self, more: int) -> None:
        """Waits until there are so many more answers over either API."""
        rest, grpc_ = self.rest.answers, self.grpc.answers
        await asyncio.to_thread(
            wait_until,
            lambda: self.rest.answers >= rest + more and self.grpc.answers >= grpc_ + more,
            30,
            "the load goes on",
        )


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[ServerProcess]:
    onnx_version(tmp_path / "m" / "1", 1)
    onnx_version(tmp_path / "prepared", 2)
    with ServerProcess(f"--workers={WORKERS}", "--model_name=m", f"--model_base_path={tmp_path / 'm'}") as server:
        yield server


@pytest.mark.slow
def test_a_swap_under_load_loses_no_request(loaded: ServerProcess, tmp_path: Path) -> None:
    async def load() -> Load:
        load = Load(loaded, {1.0, 2.0})
        await load.answers(100)
        await asyncio.to_thread(publish, tmp_path / "prepared", tmp_path / "m", 2)
        await asyncio.to_thread(loaded.wait_state, "m", 1, "END")
        load.seen.clear()
        await load.answers(100)
        load.stop.set()
        await load.running
        return load

    result = asyncio.run(load())
    assert result.rest.failures == []
    assert result.grpc.failures == []
    # Requests that were under way when the old version went may have told of it; no later ones did.
    assert 2.0 in result.seen


@pytest.mark.slow
def test_a_worker_that_is_killed_under_load_takes_its_own_connections_with_it_and_no_others(
    loaded: ServerProcess,
) -> None:
    victim = min(workers_of(loaded))

    async def load() -> Load:
        load = Load(loaded, {1.0})
        await load.answers(100)
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(
            wait_until, lambda: len(workers_of(loaded)) == WORKERS and victim not in workers_of(loaded)
        )
        await asyncio.to_thread(
            wait_until, lambda: metric(loaded, r"hotserve_workers_listening\{\}") == WORKERS, 30, "it serves again"
        )
        if load.rest.failures and len(load.rest.failures) < Load.CONNECTIONS:
            rest, failed = load.rest.answers, len(load.rest.failures)
            await asyncio.to_thread(wait_until, lambda: load.rest.answers > rest + 100, 30, "the others go on")
            assert len(load.rest.failures) == failed
        load.stop.set()
        await load.running
        return load

    result = asyncio.run(load())
    # A connection has one request under way at most; grpcio may send another one before it has seen the connection end.
    assert all("connection lost" in failure for failure in result.rest.failures)
    assert len(result.rest.failures) <= Load.CONNECTIONS
    assert all("UNAVAILABLE" in failure for failure in result.grpc.failures)
    # Who comes back at once finds a worker that lives.
    assert result.grpc.unconnected == []
    assert everywhere(loaded, lambda: predict(loaded.rest_port, "m", [0] * WIDTH)[0][0]) == {1.0}


@pytest.mark.slow
def test_a_stop_under_load_answers_every_request_that_any_worker_has_accepted(loaded: ServerProcess) -> None:
    async def load() -> Load:
        load = Load(loaded, {1.0})
        await load.answers(100)
        loaded.send_signal(signal.SIGTERM)
        await load.running
        return load

    result = asyncio.run(load())
    assert loaded.wait_exit() == 0, loaded.log()
    assert result.rest.failures == []
    assert result.grpc.failures == []
    assert result.rest.closed == Load.CONNECTIONS
    assert result.grpc.closed == Load.CONNECTIONS

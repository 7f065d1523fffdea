from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import predict_pb2

from support.load import GrpcClient, Outcome, RestClient, predictions, run_clients
from support.server_process import ServerProcess, wait_until
from support.versioned_models import WIDTH, onnx_version, publish, resident_bytes, saved_model_version

ROWS = 4
CONNECTIONS = 16
VERSIONS = 10
ANSWERS = 200
"""How many have to come over either API from one version on, before the next one is published."""

pytestmark = pytest.mark.slow


@pytest.fixture(params=[onnx_version, saved_model_version], ids=["onnx", "saved_model"], scope="module")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `1` to `11`, each a version that can be copied into place."""
    folder = tmp_path_factory.mktemp("prepared")
    for version in range(1, VERSIONS + 2):
        request.param(folder / str(version), version)
    return folder


class Observer:
    """Checks that each answer is one version's whole, and of a version that clients may have seen."""

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path
        self.seen: set[int] = set()

    def checker(self) -> Callable[[np.ndarray], str | None]:
        """For one connection, whose requests follow one another: versions only go up."""
        newest = 0

        def check(values: np.ndarray) -> str | None:
            nonlocal newest
            found = set(values.ravel().tolist())
            if len(found) != 1 or values.shape != (ROWS, WIDTH):
                return f"an answer of several versions: {found}, {values.shape}"
            version = int(found.pop())
            if not (self._base_path / str(version)).is_dir():
                return f"an answer of version {version}, which there has never been"
            if version < newest:
                return f"an answer of version {version} after one of version {newest}"
            newest = version
            self.seen.add(version)
            return None

        return check


def rest_client(server: ServerProcess, check: Callable[[np.ndarray], str | None]) -> RestClient:
    body = b'{"instances": %s}' % str([[0] * WIDTH] * ROWS).encode()
    return RestClient(
        "127.0.0.1",
        server.rest_port,
        "/v1/models/m:predict",
        body,
        lambda answer: check(np.array(predictions(answer))),
    )


def grpc_client(server: ServerProcess, check: Callable[[np.ndarray], str | None]) -> GrpcClient:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(make_tensor_proto(np.zeros((ROWS, WIDTH), np.float32)))

    def look(answer: predict_pb2.PredictResponse) -> str | None:
        values = make_ndarray(answer.outputs["y"])
        if set(values.ravel().tolist()) != {answer.model_spec.version.value}:
            return f"the answer says version {answer.model_spec.version.value}, its values say otherwise"
        return check(values)

    return GrpcClient(server.grpc_target, request, look)


def test_no_request_is_lost_while_ten_versions_appear_under_load(prepared: Path, tmp_path: Path) -> None:
    base_path = tmp_path / "m"
    publish(prepared / "1", base_path, 1)
    with ServerProcess(
        "--model_name=m", f"--model_base_path={base_path}", "--file_system_poll_wait_seconds=0.1"
    ) as server:
        observer = Observer(base_path)
        rest, grpc_ = Outcome(), Outcome()

        async def wait_until_answers(version: int) -> None:
            """Waits until a version answers and the load has gone on for a while, or something is wrong."""

            def seen(over_rest: int, over_grpc: int) -> bool:
                goes_on = version in observer.seen and rest.answers >= over_rest and grpc_.answers >= over_grpc
                return goes_on or bool(rest.failures or grpc_.failures)

            what = f"version {version} answers over either API"
            await asyncio.to_thread(wait_until, lambda: seen(0, 0), what=what)
            more = rest.answers + ANSWERS, grpc_.answers + ANSWERS
            await asyncio.to_thread(wait_until, lambda: seen(*more), what=what)

        async def load() -> None:
            stop = asyncio.Event()
            clients = [rest_client(server, observer.checker()) for _ in range(CONNECTIONS)]
            clients += [grpc_client(server, observer.checker()) for _ in range(CONNECTIONS)]
            running = asyncio.create_task(run_clients(clients, stop, [rest] * CONNECTIONS + [grpc_] * CONNECTIONS))
            await wait_until_answers(1)
            for version in range(2, VERSIONS + 2):
                await asyncio.to_thread(publish, prepared / str(version), base_path, version)
                await wait_until_answers(version)
            stop.set()
            await running

        asyncio.run(load())

        assert rest.failures == []
        assert grpc_.failures == []
        assert set(range(1, VERSIONS + 2)) == observer.seen
        wait_until(
            lambda: set(server.states("m").values()) == {"AVAILABLE", "END"}, what="all versions but the last are END"
        )
        assert server.states("m")[VERSIONS + 1] == "AVAILABLE"


def test_a_version_that_fails_leaves_the_old_one_serving_and_says_why(prepared: Path, tmp_path: Path) -> None:
    base_path = tmp_path / "m"
    publish(prepared / "1", base_path, 1)
    with ServerProcess(
        "--model_name=m", f"--model_base_path={base_path}", "--file_system_poll_wait_seconds=0.1"
    ) as server:
        shutil.copytree(prepared / "2", tmp_path / "bad")
        spoil(tmp_path / "bad")
        publish(tmp_path / "bad", base_path, 2)
        server.wait_state("m", 2, "END")

        assert server.states("m") == {2: "END", 1: "AVAILABLE"}
        assert len(server.status_texts("m")[2]) > 20
        assert "{name: m version: 2}" in server.log()
        assert server.post("/v1/models/m:predict", {"instances": [[0.0] * WIDTH]}) == (
            200,
            {"predictions": [[1.0] * WIDTH]},
        )

        publish(prepared / "3", base_path, 3)
        server.wait_state("m", 3, "AVAILABLE")
        server.wait_state("m", 1, "END")


def spoil(folder: Path) -> None:
    """Makes a version that is whole, as far as files go, and cannot be loaded."""
    onnx_file = folder / "model.onnx"
    if onnx_file.exists():
        onnx_file.write_bytes(onnx_file.read_bytes().replace(b"Add", b"Odd"))
    else:
        # Every tensor's checksum is wrong now, and its size right.
        data = next((folder / "variables").glob("variables.data-*"))
        data.write_bytes(bytes(255 - byte for byte in data.read_bytes()))


@pytest.mark.parametrize("write", [onnx_version, saved_model_version], ids=["onnx", "saved_model"])
def test_fifty_swaps_do_not_grow_the_memory(write: Callable[[Path, int, int], None], tmp_path: Path) -> None:
    base_path = tmp_path / "m"
    ballast_bytes = 4_000_000
    write(tmp_path / "model", 0, ballast_bytes)
    publish(tmp_path / "model", base_path, 1)
    with ServerProcess(
        "--model_name=m", f"--model_base_path={base_path}", "--file_system_poll_wait_seconds=0.05"
    ) as server:
        resident = {}
        for version in range(1, 51):
            if version > 1:
                publish(tmp_path / "model", base_path, version)
                shutil.rmtree(base_path / str(version - 1))
            server.wait_state("m", version, "AVAILABLE")
            status, _ = server.post("/v1/models/m:predict", {"instances": [[0.0] * WIDTH]})
            assert status == 200
            if version > 1:
                server.wait_state("m", version - 1, "END")
            resident[version] = resident_bytes(server.pid)

        # A heap keeps one ballast or another for the next load; a leak would be in all of the last ones.
        assert min(resident[version] for version in range(41, 51)) <= 1.1 * resident[5], resident

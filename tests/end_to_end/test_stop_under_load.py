from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import predict_pb2

from support.load import GrpcClient, Outcome, RestClient, predictions, run_clients
from support.server_process import ServerProcess, wait_until
from support.versioned_models import WIDTH, onnx_version

CONNECTIONS = 16

pytestmark = pytest.mark.slow


def right(values: np.ndarray) -> str | None:
    return None if set(values.ravel().tolist()) == {1.0} else f"wrong answer: {values}"


@pytest.mark.parametrize("attempt", range(3))
def test_sigterm_under_load_answers_every_request_it_has_accepted(attempt: int, tmp_path: Path) -> None:
    onnx_version(tmp_path / "m" / "1", 1)
    with ServerProcess("--model_name=m", f"--model_base_path={tmp_path / 'm'}") as server:
        body = b'{"instances": %s}' % str([[0] * WIDTH]).encode()
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(make_tensor_proto(np.zeros((1, WIDTH), np.float32)))
        rest, grpc_ = Outcome(), Outcome()

        async def load() -> None:
            stop = asyncio.Event()
            clients = [
                RestClient(
                    "127.0.0.1",
                    server.rest_port,
                    "/v1/models/m:predict",
                    body,
                    lambda b: right(np.array(predictions(b))),
                )
                for _ in range(CONNECTIONS)
            ]
            clients += [
                GrpcClient(server.grpc_target, request, lambda a: right(make_ndarray(a.outputs["y"])))
                for _ in range(CONNECTIONS)
            ]
            running = asyncio.create_task(run_clients(clients, stop, [rest] * CONNECTIONS + [grpc_] * CONNECTIONS))
            await asyncio.to_thread(wait_until, lambda: rest.answers > 200 and grpc_.answers > 200, 30, "load runs")
            # The clients go on as fast as they can, until the server tells them to go or is not there any more.
            server.send_signal(signal.SIGTERM)
            await running

        asyncio.run(load())

        assert server.wait_exit() == 0, server.log()
        assert rest.failures == []
        assert grpc_.failures == []
        assert rest.closed == CONNECTIONS
        assert grpc_.closed == CONNECTIONS

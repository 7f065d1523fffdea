from __future__ import annotations

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from support.embedded import toy_server
from support.in_process import PATIENCE, adder


@pytest.mark.parametrize("as_content", [False, True])
def test_answers_are_raw_bytes_where_that_is_asked_for(as_content: bool) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=2)
    request.inputs["x"].float_val.extend([1.0, 2.0])
    with (
        toy_server({"m": {1: adder(1)}}, enable_serialization_as_tensor_content=as_content) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel,
    ):
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=PATIENCE)
    answer = response.outputs["y"]
    values, content = ([], np.array([2.0, 3.0], "<f4").tobytes()) if as_content else ([2.0, 3.0], b"")
    assert (list(answer.float_val), answer.tensor_content) == (values, content)

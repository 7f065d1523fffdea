"""Sends four handwritten digits to the model server over gRPC, and shows what it makes of them."""

from __future__ import annotations

import argparse
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from digits import TIMEOUT_S, TutorialError, checked, four_digits, pixels, show
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def predict(target: str, model_name: str, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Asks the server at `target` (host:port) for [n, 10] probabilities of [n, 28, 28] images.

    Raises:
        TutorialError: No server answers, it does not know the model, or it refuses.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(pixels(images)))
    try:
        with grpc.insecure_channel(target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            response = stub.Predict(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        raise TutorialError(_explain(error, target)) from error
    # Keras names a model's only output output_0; other exporters choose other names.
    outputs = [tf.make_ndarray(tensor) for tensor in response.outputs.values()]
    return checked(outputs[0] if len(outputs) == 1 else sorted(response.outputs), len(images))


def _explain(error: grpc.RpcError, target: str) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return (
                f"expected a model server at {target}, but no gRPC server answers there ({error.details()}). "
                "Start one, in another terminal:\n"
                "  hotserve serve --model_name=img_classifier --model_base_path=./img_classifier\n"
                "or say where it is: --host, --port"
            )
        case grpc.StatusCode.NOT_FOUND:
            return (
                f"the server has no such model, or none of its versions is ready ({error.details()}). "
                "Compare --model_name with the name that the server was started with."
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer from {target} in {TIMEOUT_S:.0f} s: look at the server's log"
        case code:
            return f"the server answered {code.name}: {error.details()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="localhost", help="where the server is (localhost)")
    parser.add_argument("--port", type=int, default=8500, help="the port of its gRPC API (8500)")
    parser.add_argument("--model_name", default="img_classifier", help="the model to ask (img_classifier)")
    parser.add_argument("--data", type=Path, help="a mnist.npz whose first four test images are sent")
    args = parser.parse_args()

    try:
        digits = four_digits(args.data)
        show(digits, predict(f"{args.host}:{args.port}", args.model_name, digits.images))
    except TutorialError as error:
        raise SystemExit(f"predict_grpc.py: {error}") from error


if __name__ == "__main__":
    main()

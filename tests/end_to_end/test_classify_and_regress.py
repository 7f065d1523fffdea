from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from support.server_process import ServerProcess
from support.versioned_models import onnx_version

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
WORDS = [b"low", "hélas".encode(), b"high"]


def export(folder: Path) -> None:
    """A TensorFlow 1 model of the feature `x`: x / 2 + 2, three scores with labels, and answers that make no result."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        x = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})["x"]
        direct = v1.placeholder(tf.float32, [None, 1], name="direct")
        weight = v1.get_variable("weight", initializer=0.5)
        y = weight * x + 2.0
        scores = x * tf.constant([[1.0, 2.0, 3.0]])
        labels = tf.tile(tf.constant([WORDS]), [tf.shape(x)[0], 1])
        session.run(v1.global_variables_initializer())

        def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
            info = v1.saved_model.build_tensor_info
            return v1.saved_model.build_signature_def(
                {alias: info(tensor) for alias, tensor in inputs.items()},
                {alias: info(tensor) for alias, tensor in outputs.items()},
                method,
            )

        def classifies(**outputs: Any) -> Any:
            return signature({"inputs": serialized}, outputs, CLASSIFY)

        def regresses(output: Any) -> Any:
            return signature({"inputs": serialized}, {"outputs": output}, REGRESS)

        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature({"x": direct}, {"y": direct * 2.0}, "tensorflow/serving/predict"),
                "classify": classifies(classes=labels, scores=scores),
                "labels": classifies(classes=labels),
                "scores": classifies(scores=scores),
                "regress": regresses(y),
                "flat": regresses(tf.squeeze(y, 1)),
                "direct": signature({"inputs": direct}, {"outputs": direct * 2.0}, REGRESS),
                "flat_scores": classifies(scores=tf.squeeze(x, 1)),
                "double_scores": classifies(scores=tf.cast(scores, tf.float64)),
                "number_labels": classifies(classes=scores),
                "one_row": classifies(scores=scores[:1]),
                "uneven": classifies(classes=labels, scores=scores[:, :2]),
                "wide": regresses(scores),
                "short": regresses(y[:1]),
                "double": regresses(tf.cast(y, tf.float64)),
            },
        )
        builder.save()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    export(folder / "half" / "5")
    onnx_version(folder / "onnx" / "1", 1)
    (folder / "models.config").write_text(
        """
        model_config_list {
          config { name: "half" base_path: "half" model_platform: "tensorflow" }
          config { name: "onnx" base_path: "onnx" }
        }
        """
    )
    with ServerProcess(f"--model_config_file={folder / 'models.config'}") as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: ServerProcess) -> Iterator[prediction_service_pb2_grpc.PredictionServiceStub]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


Stub = prediction_service_pb2_grpc.PredictionServiceStub


def example(*x: float) -> tf.train.Example:
    """An example with the feature `x`, or without it."""
    message = tf.train.Example()
    if x:
        message.features.feature["x"].float_list.value.extend(x)
    return message


def classification(signature: str, *xs: float) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "half"
    request.model_spec.signature_name = signature
    request.input.example_list.examples.extend(map(example, xs))
    return request


def regression(signature: str, *xs: float) -> regression_pb2.RegressionRequest:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half"
    request.model_spec.signature_name = signature
    request.input.example_list.examples.extend(map(example, xs))
    return request


def classes(result: classification_pb2.ClassificationResult) -> list[list[tuple[str, float]]]:
    return [[(each.label, each.score) for each in one.classes] for one in result.classifications]


# gRPC, with the stubs of tensorflow-serving-api.


def test_classify_gives_labels_and_scores_in_the_order_of_the_model(stub: Stub) -> None:
    answer = stub.Classify(classification("classify", 1.0, 0.5), timeout=30)

    assert classes(answer.result) == [
        [("low", 1.0), ("hélas", 2.0), ("high", 3.0)],
        [("low", 0.5), ("hélas", 1.0), ("high", 1.5)],
    ]
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("half", 5)
    assert answer.model_spec.signature_name == "classify"


def test_classify_fills_what_a_model_does_not_give(stub: Stub) -> None:
    labels = stub.Classify(classification("labels", 1.0), timeout=30)
    scores = stub.Classify(classification("scores", 1.0), timeout=30)

    assert classes(labels.result) == [[("low", 0.0), ("hélas", 0.0), ("high", 0.0)]]
    assert classes(scores.result) == [[("", 1.0), ("", 2.0), ("", 3.0)]]


@pytest.mark.parametrize("signature", ["regress", "flat"])
def test_regress_gives_a_value_for_each_example(stub: Stub, signature: str) -> None:
    answer = stub.Regress(regression(signature, 80.0, 1.0), timeout=30)

    assert [each.value for each in answer.result.regressions] == [42.0, 2.5]
    assert answer.model_spec.version.value == 5


def test_a_context_fills_the_examples_that_lack_a_feature(stub: Stub) -> None:
    request = regression("regress")
    request.input.example_list_with_context.context.CopyFrom(example(2.0))
    request.input.example_list_with_context.examples.extend([example(), example(5.0)])

    answer = stub.Regress(request, timeout=30)

    assert [each.value for each in answer.result.regressions] == [3.0, 4.5]


def test_many_examples_are_answered_at_once(stub: Stub) -> None:
    xs = np.linspace(-1, 1, 2000, dtype=np.float32)

    answer = stub.Regress(regression("regress", *xs.tolist()), timeout=30)

    np.testing.assert_allclose([each.value for each in answer.result.regressions], xs / 2 + 2, rtol=1e-6)


def test_multi_inference_answers_for_several_signatures_in_their_order(stub: Stub) -> None:
    request = inference_pb2.MultiInferenceRequest()
    request.input.example_list.examples.append(example(1.0))
    for signature, method in (("regress", REGRESS), ("classify", CLASSIFY), ("flat", REGRESS)):
        one = request.tasks.add(method_name=method)
        one.model_spec.name = "half"
        one.model_spec.signature_name = signature

    results = stub.MultiInference(request, timeout=30).results

    assert [result.model_spec.signature_name for result in results] == ["regress", "classify", "flat"]
    assert [result.WhichOneof("result") for result in results] == [
        "regression_result",
        "classification_result",
        "regression_result",
    ]
    assert results[0].regression_result.regressions[0].value == 2.5
    assert classes(results[1].classification_result) == [[("low", 1.0), ("hélas", 2.0), ("high", 3.0)]]


@pytest.mark.parametrize(
    ("call", "request_", "text"),
    [
        ("Classify", classification("classify"), "Input is empty."),
        ("Classify", classification("nope", 1.0), "No signature was found with the name: nope"),
        ("Classify", classification("", 1.0), "No classification inputs found in SignatureDef: "),
        (
            "Classify",
            classification("regress", 1.0),
            'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            " Signature was: ",
        ),
        (
            "Classify",
            classification("flat_scores", 1.0, 2.0),
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        ("Classify", classification("double_scores", 1.0), "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("Classify", classification("number_labels", 1.0), "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("Classify", classification("one_row", 1.0, 2.0), "Expected scores output batch size of 2. Got: 1"),
        (
            "Classify",
            classification("uneven", 1.0),
            "Tensors class and score should match in dim_size(1). Got 3 vs. 2",
        ),
        ("Regress", regression("classify", 1.0), "Expected one output Tensor."),
        ("Regress", regression("", 1.0), "No regression inputs found in SignatureDef: "),
        ("Regress", regression("scores", 1.0), "No regression outputs found in SignatureDef: "),
        ("Regress", regression("direct", 1.0), "Expects arg[0] to be float but string is provided"),
        (
            "Regress",
            regression("wide", 1.0),
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,3]",
        ),
        ("Regress", regression("short", 1.0, 2.0), "Input batch size did not match output batch size: 2 vs. 1"),
        ("Regress", regression("double", 1.0), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_a_wrong_call_is_refused_in_the_words_of_the_contract(stub: Stub, call: str, request_: Any, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, call)(request_, timeout=30)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(text)


def test_the_kind_of_a_feature_is_named_when_the_model_takes_another(stub: Stub) -> None:
    request = regression("regress", 1.0)
    wrong = request.input.example_list.examples.add()
    wrong.features.feature["x"].int64_list.value.append(1)

    with pytest.raises(grpc.RpcError) as caught:
        stub.Regress(request, timeout=30)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Data type: int64 but expected type: float" in caught.value.details()
    assert caught.value.details().endswith("Of the examples, examples[0] has x: float; examples[1] has x: int64.")


def test_a_model_of_another_platform_explains_why_it_cannot(stub: Stub) -> None:
    request = classification("", 1.0)
    request.model_spec.name = "onnx"

    with pytest.raises(grpc.RpcError) as caught:
        stub.Classify(request, timeout=30)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Classify signatures available in onnx version 1: none." in caught.value.details()
    assert "Predict takes tensors and works with every model." in caught.value.details()


# REST.


@pytest.mark.parametrize(
    ("verb", "body", "results"),
    [
        (
            "classify",
            {"signature_name": "classify", "examples": [{"x": 1.0}, {"x": [0.5]}]},
            [[["low", 1.0], ["hélas", 2.0], ["high", 3.0]], [["low", 0.5], ["hélas", 1.0], ["high", 1.5]]],
        ),
        (
            "classify",
            {"signature_name": "labels", "examples": [{"x": 1e0}]},
            [[["low", 0.0], ["hélas", 0.0], ["high", 0.0]]],
        ),
        ("regress", {"signature_name": "regress", "examples": [{"x": 80.0}, {"x": 1.0}]}, [42.0, 2.5]),
        ("regress", {"signature_name": "flat", "context": {"x": 2.0}, "examples": [{}, {"x": 5.0}]}, [3.0, 4.5]),
    ],
)
def test_examples_in_json_are_answered_with_results(
    server: ServerProcess, verb: str, body: dict[str, Any], results: Any
) -> None:
    assert server.post(f"/v1/models/half:{verb}", body) == (200, {"results": results})


def test_an_integer_for_a_float_feature_is_refused_and_the_answer_tells_why(server: ServerProcess) -> None:
    status, answer = server.post("/v1/models/half:regress", {"signature_name": "regress", "examples": [{"x": 80}]})

    assert status == 400
    assert "Data type: int64 but expected type: float" in answer["error"]
    assert "examples[0] has x: int64. In JSON, 1 is an int64, 1.0 is a float" in answer["error"]


def test_a_label_that_both_apis_can_carry_is_the_same_over_both(server: ServerProcess, stub: Stub) -> None:
    over_grpc = stub.Classify(classification("classify", 0.1), timeout=30)
    _, over_rest = server.post("/v1/models/half:classify", {"signature_name": "classify", "examples": [{"x": 0.1}]})

    pairs = [[(label, np.float32(score)) for label, score in one] for one in over_rest["results"]]
    assert pairs == [[(label, np.float32(score)) for label, score in one] for one in classes(over_grpc.result)]


def test_only_the_examples_of_multi_inference_are_counted(server: ServerProcess, stub: Stub) -> None:
    request = inference_pb2.MultiInferenceRequest(
        input=input_pb2.Input(example_list=input_pb2.ExampleList(examples=[example(1.0)] * 3))
    )
    one = request.tasks.add(method_name=REGRESS)
    one.model_spec.name = "half"
    one.model_spec.signature_name = "regress"
    name = ':tensorflow:serving:request_example_count_total{model="half"} '

    def counted() -> int:
        page = server.get("/monitoring/prometheus/metrics")[1].decode()
        return sum(int(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))

    before = counted()
    stub.MultiInference(request, timeout=30)
    stub.Regress(regression("regress", 1.0, 2.0), timeout=30)
    assert counted() == before + 3

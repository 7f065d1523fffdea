from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from hotserve.api.exchange import GrpcRequest, RestRequest
from hotserve.api.grpc_framing import frame
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.demo import MODEL_BASE_PATH, MODEL_NAME, sample
from hotserve.errors import Code, ServingError
from hotserve.platforms.onnx import OnnxLoader
from hotserve.protos import messages
from hotserve.tensors import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    NUMPY_OF,
    REGRESS_METHOD,
    Array,
    DType,
    Signature,
    TensorSpec,
)
from support.asgi_client import FakeClient, body_events, grpc_scope, read_reply
from support.embedded import write_table
from support.in_process import METADATA, PREDICT, STATUS, InProcess, ToyServable
from support.server_process import ServerProcess

IN_PROCESS = 10_000
OVER_SOCKETS = 500
MAX_GROWTH_BYTES = 200 << 20

CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
MULTI_INFERENCE = "/tensorflow.serving.PredictionService/MultiInference"

MESSAGE_OF: Mapping[str, type[Message]] = {
    PREDICT: messages.PredictRequest,
    METADATA: messages.GetModelMetadataRequest,
    STATUS: messages.GetModelStatusRequest,
    CLASSIFY: messages.ClassificationRequest,
    REGRESS: messages.RegressionRequest,
    MULTI_INFERENCE: messages.MultiInferenceRequest,
}

# Every type that both wires can carry, with values that a bit can turn into something odd.
VALUES: Mapping[DType, list[Any]] = {
    DType.FLOAT: [1.5, -0.0, 3e38],
    DType.DOUBLE: [0.1, 1e308, -1e-300],
    DType.HALF: [1.0, 65504.0, -2.0],
    DType.BFLOAT16: [1.0, 2.0, 3.0],
    DType.INT8: [-128, 0, 127],
    DType.INT16: [-5, 0, 300],
    DType.INT32: [-(2**31), 0, 2**31 - 1],
    DType.INT64: [-(2**63), 0, 2**63 - 1],
    DType.UINT8: [0, 1, 255],
    DType.UINT32: [0, 1, 2**32 - 1],
    DType.UINT64: [0, 1, 2**64 - 1],
    DType.BOOL: [True, False, True],
    DType.STRING: ["text", "gr\u00f6\u00dfer", ""],
}


# Models.


def identities() -> ToyServable:
    """A signature for each dtype, `x` to `y`; one with two inputs; and one that binds shapes."""
    signatures = {
        dtype.label: Signature({"x": TensorSpec(dtype, None)}, {"y": TensorSpec(dtype, None)}) for dtype in VALUES
    }
    floats, words = TensorSpec(DType.FLOAT, None), TensorSpec(DType.STRING, None)
    signatures[DEFAULT_SIGNATURE] = Signature({"x": floats, "words": words}, {"y": floats, "words_bytes": words})
    square = TensorSpec(DType.FLOAT, (None, 2))
    signatures["strict"] = Signature({"x": square}, {"y": square}, enforces_shapes=True)

    def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": inputs["x"], "words_bytes": inputs.get("words", inputs["x"])}

    return ToyServable(signatures, run)


def on_examples() -> ToyServable:
    """Classifies and regresses by how long an example is."""
    text = TensorSpec(DType.STRING, (None,))
    scores, values = TensorSpec(DType.FLOAT, (None, 2)), TensorSpec(DType.FLOAT, (None,))

    def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        lengths = np.array([len(example) for example in inputs["inputs"].ravel()], np.float32)
        return {"outputs": lengths, "scores": np.stack([lengths, -lengths], 1)}

    return ToyServable(
        {
            DEFAULT_SIGNATURE: Signature({"inputs": text}, {"scores": scores}, CLASSIFY_METHOD),
            "regress": Signature({"inputs": text}, {"outputs": values}, REGRESS_METHOD),
        },
        run,
    )


# Requests to begin with: all of them are good.


@dataclass(frozen=True)
class Seed:
    """A good request: where to, and what."""

    path: str
    body: bytes


def rest_seeds() -> list[Seed]:
    """Rows and columns of every dtype, of two inputs, of examples, and a picture."""
    documents: list[tuple[str, Any]] = []
    for dtype, values in VALUES.items():
        documents.append(("identities:predict", {"signature_name": dtype.label, "instances": values}))
        documents.append(("identities:predict", {"signature_name": dtype.label, "inputs": {"x": [values, values]}}))
    documents += [
        ("identities:predict", {"instances": [{"x": 1, "words": "a"}, {"x": 2.5, "words": {"b64": "aGk="}}]}),
        ("identities:predict", {"inputs": {"x": [1, 2], "words": [["a", {"b64": "/w=="}]]}}),
        ("identities:predict", {"signature_name": "strict", "instances": [[1, 2], [3.0, 4e2]]}),
        ("examples:classify", {"context": {"k": 1}, "examples": [{"x": [1.5, 2.0]}, {"s": "t", "b": {"b64": "aGk="}}]}),
        ("examples:regress", {"signature_name": "regress", "examples": [{"x": 1.5, "flag": True, "none": []}]}),
    ]
    picture = [[[round(pixel / 255, 2)] for pixel in row] for row in sample().images[0].tolist()]
    documents.append((f"{MODEL_NAME}:predict", {"instances": [picture]}))
    return [Seed(f"/v1/models/{path}", json.dumps(document).encode()) for path, document in documents]


def predict_seed(model: str, signature: str, as_content: bool = False, **inputs: tuple[Array, DType]) -> Seed:
    request = messages.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, (array, dtype) in inputs.items():
        request.inputs[name].CopyFrom(encode_tensor(array, dtype, as_content))
    return Seed(PREDICT, request.SerializeToString())


def array_of(dtype: DType) -> Array:
    if dtype is DType.STRING:
        return np.array([text.encode() for text in VALUES[dtype]], object)
    return np.array(VALUES[dtype], NUMPY_OF[dtype])


def grpc_seeds() -> list[Seed]:
    """Tensors of every dtype, in both forms, a picture, metadata, statuses, and examples."""
    seeds = []
    for dtype in VALUES:
        for as_content in (False, True):
            seeds.append(predict_seed("identities", dtype.label, as_content, x=(array_of(dtype), dtype)))
    both = {"x": (np.float32([[1, 2]]), DType.FLOAT), "words": (array_of(DType.STRING), DType.STRING)}
    seeds.append(predict_seed("identities", "", **both))
    picture = (sample().images[:1, :, :, None] / 255).astype(np.float32)
    seeds.append(predict_seed(MODEL_NAME, "", image=(picture, DType.FLOAT)))

    filtered = messages.PredictRequest.FromString(predict_seed("identities", "", **both).body)
    filtered.output_filter.append("y")
    filtered.model_spec.version.value = 1
    seeds.append(Seed(PREDICT, filtered.SerializeToString()))

    spec = messages.ModelSpec(name="identities", signature_name="int8")
    spec.version.value = 1
    labelled = messages.ModelSpec(name="identities", version_label="stable")
    for model_spec in (spec, labelled, messages.ModelSpec(name="absent")):
        metadata = messages.GetModelMetadataRequest(model_spec=model_spec, metadata_field=["signature_def"])
        seeds.append(Seed(METADATA, metadata.SerializeToString()))
        seeds.append(Seed(STATUS, messages.GetModelStatusRequest(model_spec=model_spec).SerializeToString()))

    example = messages.Example()
    example.features.feature["x"].float_list.value.extend([1.5, 2.5])
    example.features.feature["s"].bytes_list.value.append(b"text")
    input_ = messages.Input()
    input_.example_list_with_context.examples.extend([example, example])
    input_.example_list_with_context.context.CopyFrom(example)
    classify = messages.ModelSpec(name="examples")
    regress = messages.ModelSpec(name="examples", signature_name="regress")
    tasks = [
        messages.InferenceTask(model_spec=classify, method_name=CLASSIFY_METHOD),
        messages.InferenceTask(model_spec=regress, method_name=REGRESS_METHOD),
    ]
    requests: list[tuple[str, Message]] = [
        (CLASSIFY, messages.ClassificationRequest(model_spec=classify, input=input_)),
        (REGRESS, messages.RegressionRequest(model_spec=regress, input=input_)),
        (MULTI_INFERENCE, messages.MultiInferenceRequest(tasks=tasks, input=input_)),
    ]
    return seeds + [Seed(path, request.SerializeToString()) for path, request in requests]


def mutated(chance: random.Random, body: bytes) -> bytes:
    """The body after one to four accidents."""
    data = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        at = chance.randrange(len(data) + 1)
        until = min(len(data), at + chance.choice((1, 2, 5, 40)))
        match chance.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:until]
            case 2:
                data[at:at] = chance.randbytes(chance.choice((1, 3, 12)))
            case 3:
                data[at:at] = data[at:until] * chance.choice((1, 2, 50))
            case 4:
                del data[at:]
            case _:
                data[at:until] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, *b'0-9.eE"[]{},:\\'))]) * (until - at)
    return bytes(data)


ODD_VALUES: Sequence[Any] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    1e308,
    "",
    "x",
    [],
    [[]],
    [1, "a"],
    {},
    {"b64": "!"},
    {"x": 1},
)


def rearranged(chance: random.Random, body: bytes) -> bytes:
    """The JSON body with one of its values replaced, left out or repeated."""
    document = json.loads(body)
    parent, key = None, None
    value = document
    while isinstance(value, dict | list) and value and (parent is None or chance.random() < 0.7):
        parent, key = value, chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value = parent[key]
    assert parent is not None, "a body is an object, and none of the seeds is empty"
    match chance.randrange(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.append(value)
        case 1:
            parent["odd"] = value
        case _:
            parent[key] = chance.choice(ODD_VALUES)
    return json.dumps(document).encode()


ODD_NUMBERS = (0, 1, -1, 2, 7, 19, 20, 101, 127, 128, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, -(2**63))
NUMBERS_OF: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def odd_value(chance: random.Random, field: FieldDescriptor) -> Any:
    """Something that the field can hold."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return chance.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.randbytes(chance.choice((0, 1, 4, 12, 24)))
        case FieldDescriptor.CPPTYPE_STRING:
            return chance.choice(("", "x", "y", "int8", "\0", "serving_default", "gr\u00f6\u00dfer" * 50))
        case _:
            least, most = NUMBERS_OF[field.cpp_type]
            return chance.choice([number for number in ODD_NUMBERS if least <= number <= most])


def disturb(chance: random.Random, message: Any) -> None:
    """Changes one thing in a message, somewhere in its depth; it stays one that can be sent."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = chance.choice(fields)
    deeper = chance.random() < 0.8
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        name = chance.choice(sorted(value))
        if deeper:
            disturb(chance, value[name])
        else:
            value[chance.choice(("x", "words", "odd"))].CopyFrom(value[name])
            if chance.random() < 0.5:
                value.pop(name)
    elif not field.is_repeated:
        if field.message_type is None:
            setattr(message, field.name, odd_value(chance, field))
        elif deeper:
            disturb(chance, value)
        else:
            message.ClearField(field.name)
    elif field.message_type is not None and deeper:
        disturb(chance, chance.choice(value))
    elif chance.random() < 0.3:
        value.pop()
    elif field.message_type is None:
        value.append(odd_value(chance, field))
    else:
        value.add().CopyFrom(value[0])


def disturbed(chance: random.Random, path: str, body: bytes) -> bytes:
    """The message with one to three changes that leave it one."""
    message = MESSAGE_OF[path].FromString(body)
    for _ in range(chance.randint(1, 3)):
        disturb(chance, message)
    return message.SerializeToString()


def accidents(seeds: Sequence[Seed], number: int, random_seed: int) -> Iterator[Seed]:
    """Accidents to the seeds, the same ones every time: to their bytes, to what they say, and some mere noise."""
    chance = random.Random(random_seed)
    for _ in range(number):
        seed = chance.choice(seeds)
        kind = chance.random()
        if kind < 0.05:
            body = chance.randbytes(chance.randrange(200))
        elif kind < 0.5:
            body = mutated(chance, seed.body)
        elif seed.path in MESSAGE_OF:
            body = disturbed(chance, seed.path, seed.body)
        else:
            body = rearranged(chance, seed.body)
        yield Seed(seed.path, body)


# Watching.


def resident_bytes() -> int:
    """How much memory this process holds; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


class MemoryWatch:
    """Refuses growth from the second of many rounds on; the first may fill caches."""

    def __init__(self) -> None:
        self._start = 0

    def look(self, number: int) -> None:
        if number == 1000:
            self._start = resident_bytes()
        elif number > 1000 and number % 1000 == 0:
            assert resident_bytes() - self._start < MAX_GROWTH_BYTES


@pytest.fixture(scope="module")
def apis() -> Iterator[InProcess]:
    models: dict[str, Any] = {
        "identities": {1: identities()},
        "examples": {1: on_examples()},
        MODEL_NAME: {1: OnnxLoader().load(MODEL_BASE_PATH / "1")},
    }
    with InProcess(models, labels={"identities": {"stable": 1}}) as running:
        logging.disable(logging.INFO)
        yield running
        logging.disable(logging.NOTSET)


def assert_the_clients_fault(accident: Seed, code: Code, error: Exception) -> None:
    """Whether the code of a refusal says so; INTERNAL is what any gRPC server says to bytes that are no message."""
    if code is Code.INTERNAL:
        with pytest.raises(DecodeError):
            MESSAGE_OF[accident.path].FromString(accident.body)
    assert code not in (Code.UNKNOWN, Code.UNAVAILABLE), (accident, error)


# The tests.


def test_what_the_mutations_begin_with_is_good(apis: InProcess) -> None:
    for seed in rest_seeds():
        response = apis.rest("POST", seed.path, seed.body)
        assert response.status == 200, (seed, response.body)
    for seed in grpc_seeds():
        answer = apis.call(seed.path, seed.body)
        assert answer.error is None or answer.error.code is Code.NOT_FOUND, (seed, answer.error)


def test_a_rest_request_that_went_wrong_is_never_the_servers_fault(apis: InProcess) -> None:
    watch = MemoryWatch()
    seen: set[int] = set()

    async def run() -> None:
        for number, accident in enumerate(accidents(rest_seeds(), IN_PROCESS, random_seed=1)):
            response = await apis.rest_api.handle(RestRequest("POST", accident.path, {}, accident.body))
            assert response.status < 500, (accident, response.body)
            json.loads(response.body.decode())  # UTF-8, and JSON with NaN and Infinity
            seen.add(response.status)
            watch.look(number)

    asyncio.run(run())
    assert {200, 400} <= seen  # accidents of both kinds have been met: harmless ones, and others
    assert apis.predict("/v1/models/identities:predict", {"signature_name": "float", "instances": [1, 2]}) == (
        200,
        {"predictions": [1.0, 2.0]},
    )


def test_a_call_that_went_wrong_is_never_the_servers_fault(apis: InProcess) -> None:
    watch = MemoryWatch()
    seen: set[Code] = set()

    async def run() -> None:
        for number, accident in enumerate(accidents(grpc_seeds(), IN_PROCESS, random_seed=2)):
            code = Code.OK
            try:
                await apis.grpc_services.call(GrpcRequest(accident.path, accident.body))
            except ServingError as error:
                code = error.code
                assert_the_clients_fault(accident, code, error)
            seen.add(code)
            watch.look(number)

    asyncio.run(run())
    assert {Code.OK, Code.INVALID_ARGUMENT, Code.INTERNAL, Code.NOT_FOUND} <= seen
    answer = apis.call(PREDICT, predict_seed("identities", "float", x=(np.float32([1, 2]), DType.FLOAT)).body)
    response = messages.PredictResponse.FromString(answer.message)
    assert decode_tensor(response.outputs["y"]).tolist() == [1.0, 2.0]


def test_a_path_that_went_wrong_is_never_the_servers_fault(apis: InProcess) -> None:
    chance = random.Random(5)
    paths = [
        "versions/1:predict",
        "labels/stable:predict",
        "versions/1/metadata",
        "labels/stable/metadata",
        ":classify",
    ]
    seen: set[int] = set()

    async def run() -> None:
        for _ in range(IN_PROCESS // 4):
            path = mutated(chance, f"/v1/models/identities{chance.choice(paths)}".encode()).decode("latin-1")
            request = RestRequest(chance.choice(("GET", "POST", "HEAD", "OPTIONS")), path, {}, b'{"instances": [1]}')
            response = await apis.rest_api.handle(request)
            assert response.status < 500, (request, response.body)
            response.body.decode()
            seen.add(response.status)

    asyncio.run(run())
    assert {200, 400, 404} <= seen


def test_a_frame_that_went_wrong_ends_with_a_status_all_the_same(apis: InProcess) -> None:
    chance = random.Random(6)
    statuses: set[int] = set()

    async def run() -> None:
        for accident in accidents(grpc_seeds(), IN_PROCESS // 4, random_seed=7):
            body = frame(accident.body, pack=chance.random() < 0.3)
            if chance.random() < 0.5:
                body = mutated(chance, body)
            headers = {"grpc-encoding": chance.choice(("gzip", "identity", "deflate"))}
            if chance.random() < 0.2:
                headers["grpc-timeout"] = chance.choice(("1S", "99999999H", "0n", "1", "-1S", ""))
            cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(3)))
            parts = [body[start:end] for start, end in pairwise((0, *cuts, len(body)))]
            client = FakeClient(body_events(*parts))
            await apis.app(grpc_scope(accident.path, headers), client.receive, client.send)
            statuses.add(read_reply(client.sent).status)

    asyncio.run(run())
    assert Code.UNKNOWN not in statuses
    assert Code.UNAVAILABLE not in statuses
    assert {Code.OK, Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED} <= statuses


def test_a_server_goes_on_answering_after_whatever_comes_in_through_its_sockets(tmp_path: Path) -> None:
    for name in ("identities", "examples"):
        write_table(tmp_path / name / "1", **{"text": "found", "": "nothing"})
    (tmp_path / "models.config").write_text(
        'model_config_list { config { name: "identities" base_path: "identities" }'
        ' config { name: "examples" base_path: "examples" }'
        f' config {{ name: "{MODEL_NAME}" base_path: "{MODEL_BASE_PATH}" }} }}'
    )
    with ServerProcess(f"--model_config_file={tmp_path / 'models.config'}") as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)) as connection:
            for accident in accidents(rest_seeds(), OVER_SOCKETS, random_seed=3):
                connection.request("POST", accident.path, accident.body)
                with connection.getresponse() as response:
                    body = response.read()
                assert response.status < 500, (accident, body)

        with grpc.insecure_channel(server.grpc_target) as channel:
            for accident in accidents(grpc_seeds(), OVER_SOCKETS, random_seed=4):
                try:
                    channel.unary_unary(accident.path)(accident.body, timeout=60)
                except grpc.RpcError as error:
                    assert_the_clients_fault(accident, Code[error.code().name], error)
            request = messages.PredictRequest()
            request.model_spec.name = "identities"
            request.inputs["keys"].CopyFrom(encode_tensor(np.array([b"text"], object), DType.STRING))
            answer = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=60)
            response_message = messages.PredictResponse.FromString(answer)
            assert decode_tensor(response_message.outputs["values"]).tolist() == [b"found"]

        assert server.post("/v1/models/identities:predict", {"instances": ["text"]}) == (
            200,
            {"predictions": ["found"]},
        )
        assert "Traceback" not in server.log()

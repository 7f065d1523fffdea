"""What the conformance suite asks with: tables of lines of the contract, REST as bytes, and gRPC without TensorFlow."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from hotserve.protos import messages
from hotserve.protos.pool import POOL
from support.server_process import TFS_COMMAND, ServerProcess, wait_until

PATIENCE_SECONDS = 60.0


def lines(names: str, table: Mapping[str, Any]) -> pytest.MarkDecorator:
    """Makes a table of one test: what a line of the contract says -> the values of `names` that show it."""
    return pytest.mark.parametrize(names, [pytest.param(*row, id=line) for line, row in table.items()])


def tfs(*flags: str, **more: Any) -> ServerProcess:
    """A server process under the name of the one whose place it takes."""
    return ServerProcess(*flags, command=[TFS_COMMAND], **more)


# REST.


@dataclass(frozen=True)
class Answer:
    """An answer over REST.

    Attributes:
        status: Its number.
        reason: The words after the number.
        headers: By name in lower case.
        body: As it came.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The text of an error, whose body has exactly the form that the contract fixes."""
        assert self.body.startswith(b'{\n    "error": "'), self.body
        assert self.body.endswith(b'"\n}'), self.body
        document = json.loads(self.body)
        assert list(document) == ["error"]
        return str(document["error"])


def ask(
    server: ServerProcess,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Sends one request on a connection of its own; nothing is added to the path, the body or the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_accept_encoding=True)
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            connection.putheader("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, answer.reason, named, answer.read())


def post(server: ServerProcess, path: str, body: bytes | str) -> Answer:
    """Sends a request for an inference: `post(server, "half:predict", ...)`."""
    return ask(server, "POST", f"/v1/models/{path}", body)


def predict(server: ServerProcess, model: str, signature: str, body: str) -> Answer:
    """Sends a predict request with the members of `body`, which lacks its opening brace, to a signature."""
    return post(server, f"{model}:predict", f'{{"signature_name": "{signature}", {body}}}')


def raw(server: ServerProcess, sent: bytes) -> bytes:
    """What comes back for these very bytes until the server closes the connection or has nothing more to say."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


# gRPC. The messages are the server's own, which have been compared with those of tensorflow-serving-api.

SERVICES: Mapping[str, tuple[str, type[Message]]] = {
    "Predict": ("PredictionService", messages.PredictResponse),
    "Classify": ("PredictionService", messages.ClassificationResponse),
    "Regress": ("PredictionService", messages.RegressionResponse),
    "MultiInference": ("PredictionService", messages.MultiInferenceResponse),
    "GetModelMetadata": ("PredictionService", messages.GetModelMetadataResponse),
    "GetModelStatus": ("ModelService", messages.GetModelStatusResponse),
    "HandleReloadConfigRequest": ("ModelService", messages.ReloadConfigResponse),
}


class Client:
    """Calls the services of one server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def call(self, method: str, request: Message, timeout: float = PATIENCE_SECONDS) -> Any:
        """Calls a method by its short name.

        Raises:
            grpc.RpcError: The answer is an error.
        """
        service, answer = SERVICES[method]
        name = f"/tensorflow.serving.{service}/{method}"
        return self.channel.unary_unary(name, _serialized, answer.FromString)(request, timeout=timeout)

    def refusal(self, method: str, request: Message, timeout: float = PATIENCE_SECONDS) -> tuple[str, str]:
        """The code and the text of an error."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, request, timeout)
        return caught.value.code().name, caught.value.details()


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


@contextlib.contextmanager
def client_of(server: ServerProcess) -> Iterator[Client]:
    """A client for as long as the block lasts."""
    with grpc.insecure_channel(server.grpc_target, [("grpc.max_receive_message_length", -1)]) as channel:
        yield Client(channel)


def model_spec(
    name: str = "", *, version: int | None = None, label: str | None = None, signature: str = ""
) -> messages.ModelSpec:
    """Which model is meant."""
    spec = messages.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        # Present also where it is 0.
        spec.version.value = version
        spec.version.SetInParent()
    if label is not None:
        spec.version_label = label
    return spec


def tensor(dtype: str, shape: Sequence[int] = (), **fields: Any) -> messages.TensorProto:
    """A tensor with the fields given, which need not make sense: `tensor("DT_FLOAT", [2], float_val=[1.5])`."""
    message = messages.TensorProto(dtype=messages.DataType.Value(dtype), **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def floats(*values: float) -> messages.TensorProto:
    """A vector."""
    return tensor("DT_FLOAT", [len(values)], float_val=values)


def predict_request(
    model: str = "half", signature: str = "", output_filter: Sequence[str] = (), **inputs: messages.TensorProto
) -> messages.PredictRequest:
    """A request for a prediction."""
    request = messages.PredictRequest(model_spec=model_spec(model, signature=signature), output_filter=output_filter)
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(value)
    return request


def config(*models: str) -> str:
    """The text of a model config file with these entries."""
    return "model_config_list {\n" + "".join(f"  config {{ {model} }}\n" for model in models) + "}\n"


def reload_request(*models: str, metric_names: Sequence[str] = ()) -> messages.ReloadConfigRequest:
    """A reload with these entries of a config file."""
    request = messages.ReloadConfigRequest(metric_names=metric_names)
    text_format.Parse(config(*models), request.config, descriptor_pool=POOL)
    return request


def config_flag(folder: Path, *models: str) -> str:
    """Writes a model config file, and returns the flag that names it."""
    file = folder / "models.config"
    file.write_text(config(*models))
    return f"--model_config_file={file}"


class Publish(Protocol):
    """What the fixture `publish` is."""

    def __call__(self, model: str, versions: Mapping[str, int], more: str = "") -> str:
        """Puts versions of the suite's model `plus` under a base path of their own.

        Args:
            model: The name of the model, and of the base path.
            versions: Name of a version folder -> which version of `plus` it holds.
            more: Further fields of the entry.

        Returns:
            The entry for a config file.
        """
        ...


def base_path_of(entry: str) -> Path:
    """The base path in an entry of a config file."""
    return Path(entry.split("base_path: '")[1].split("'")[0])


def spoil(version: Path) -> None:
    """Makes a SavedModel one that is complete and cannot be loaded: nothing in it has the tags that are asked for."""
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"\x22\x05serve", b"\x22\x05swerv"))


class Reloadable:
    """A server whose list of models changes from test to test.

    Attributes:
        server: The process.
        client: Calls it.
    """

    def __init__(self, server: ServerProcess, client: Client) -> None:
        self.server = server
        self.client = client

    def reload(self, *models: str, metric_names: Sequence[str] = ()) -> messages.ReloadConfigResponse:
        """Replaces the list of models by these entries of a config file, and waits for the new ones.

        Raises:
            grpc.RpcError: The list is refused, or a new model has failed.
        """
        return self.client.call("HandleReloadConfigRequest", reload_request(*models, metric_names=metric_names))

    def refusal(self, *models: str) -> tuple[str, str]:
        """The code and the text with which a reload fails."""
        return self.client.refusal("HandleReloadConfigRequest", reload_request(*models))

    def available(self, model: str) -> set[int]:
        """The versions of a model that are AVAILABLE."""
        return {version for version, state in self.server.states(model).items() if state == "AVAILABLE"}

    def wait_available(self, model: str, *versions: int) -> None:
        """Waits until just these versions of a model are AVAILABLE."""
        wait_until(lambda: self.available(model) == set(versions), what=f"{model} {versions}: {self.server.log()}")

    def end(self, model: str, version: int) -> tuple[str, str]:
        """Waits until a version has come to its END; the code and the text of its status."""
        self.server.wait_state(model, version, "END")
        request = messages.GetModelStatusRequest(model_spec=model_spec(model, version=version))
        (found,) = self.client.call("GetModelStatus", request).model_version_status
        return messages.ErrorCode.Name(found.status.error_code), found.status.error_message

    def answer(self, path: str) -> float:
        """What a version of the suite's model `plus` adds."""
        answer = post(self.server, f"{path}:predict", '{"inputs": 0.0}')
        assert answer.status == 200, answer
        return float(json.loads(answer.body)["outputs"])

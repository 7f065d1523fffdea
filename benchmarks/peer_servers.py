"""The servers that `bench_peers.py` compares: how each is started, where it answers, and with which settings.

All of them run the same model in the same version of ONNX Runtime with the same number of threads. What a peer has to
be told beyond that is what its documentation recommends for production; `settings` says it in words, for the report.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison import Contestant
from digits import INTRA_OP_THREADS
from generators import best
from measure import ServerCommand
from workloads import V2

PEERS = Path(__file__).parent / "peers"

HOTSERVE = "hotserve"
TENSORFLOW_MODEL_SERVER = "tensorflow_model_server"

_STOP_SECONDS = 4.0
"""How long a server may take to stop: some wait longer for connections that nobody speaks on any more."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server is started for.

    Attributes:
        python: The interpreter of the environment that the server is installed in.
        model: Name of the model.
        base_path: Its folder; version 1 is in it.
        cores: Processors that the server may use, by number.
        scratch: A folder for what the server writes.
    """

    python: Path
    model: str
    base_path: Path
    cores: Sequence[int]
    scratch: Path

    @property
    def model_file(self) -> Path:
        return self.base_path / "1" / "model.onnx"

    @property
    def workers(self) -> int:
        """One process for each processor."""
        return len(self.cores)

    def script(self, name: str) -> str:
        """A program that a package of the environment has installed."""
        return str(self.python.parent / name)


@dataclass(frozen=True, slots=True)
class Line:
    """One way to ask a server: a line of the results.

    Attributes:
        name: As the results show it.
        wire: `rest` or `grpc`.
        path: What to post to; empty for that of the workload.
        form: What the name of its workloads ends with; empty for TensorFlow Serving's form.
    """

    name: str
    wire: str = "rest"
    path: str = ""
    form: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to compare.

    Attributes:
        name: As `--peers` has it.
        title: As the report has it.
        packages: The packages whose versions the report tells; the first is the peer itself.
        lines: How it is asked.
        command: How it is started: words and environment, in which ports stand as in `ServerCommand`.
        settings: What it was told, in words; `one` core first, then what is different on all of them.
        ready_path: GET answers 200 there once it listens.
        saved_model: Whether it takes SavedModels and nothing else.
        lives_with: The peer whose environment it shares; empty for none.
        takes_silent_connections: Whether it answers while other connections are open on which nothing has been sent
            yet, of which an open loop has many.
        path: A folder of modules that its program needs beside those in `PEERS`; empty for none.
    """

    name: str
    title: str
    packages: Sequence[str]
    lines: Sequence[Line]
    command: Callable[[Serving], tuple[Sequence[str], Mapping[str, str]]]
    settings: str
    ready_path: str = "/readyz"
    saved_model: bool = False
    lives_with: str = ""
    takes_silent_connections: bool = True
    path: str = ""

    @property
    def requirements(self) -> Path:
        """What is installed into its environment, one of its own."""
        return PEERS / f"requirements-{self.lives_with or self.name}.txt"

    def server(self, serving: Serving) -> ServerCommand:
        """How to start it, on the processors that it may use."""
        words, environment = self.command(serving)
        pinned = ("taskset", "--cpu-list", ",".join(map(str, serving.cores)), *words)
        common = {
            "MODEL_FILE": str(serving.model_file),
            "INTRA_OP_THREADS": str(INTRA_OP_THREADS),
            "WORKERS": str(serving.workers),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(PEERS), self.path, os.environ.get("PYTHONPATH")))),
        }
        ready_path = self.ready_path.format(model=serving.model)
        return ServerCommand(self.title, pinned, ready_path, common | dict(environment), serving.scratch, _STOP_SECONDS)

    def contestants(self, serving: Serving, server: ServerCommand) -> Sequence[Contestant]:
        """Its lines, for one model."""
        return [
            Contestant(line.name, server, line.wire, line.path, serving.model + line.form, best(line.wire))
            for line in self.lines
        ]


def peers(tensorflow_model_server: str = "") -> Mapping[str, Peer]:
    """All of them, by name.

    Args:
        tensorflow_model_server: The program of that name, if there is one.
    """
    if not tensorflow_model_server:
        return {peer.name: peer for peer in _PEERS}
    program = shutil.which(tensorflow_model_server) or tensorflow_model_server

    def command(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
        words = (program, "--port={grpc_port}", "--rest_api_port={rest_port}")
        return (*words, f"--model_name={serving.model}", f"--model_base_path={serving.base_path}"), {}

    original = Peer(
        TENSORFLOW_MODEL_SERVER,
        "TensorFlow Serving",
        (),
        (Line("TensorFlow Serving, REST"), Line("TensorFlow Serving, gRPC", "grpc")),
        command,
        "no flags beyond the ports and the model",
        "/v1/models/{model}",
        saved_model=True,
    )
    return {peer.name: peer for peer in (*_PEERS, original)}


def _hotserve(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    words = (
        *(sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1"),
        *("--port={grpc_port}", "--rest_api_port={rest_port}", f"--workers={serving.workers}"),
        *(f"--model_name={serving.model}", f"--model_base_path={serving.base_path}"),
        f"--tensorflow_intra_op_parallelism={INTRA_OP_THREADS}",
    )
    return words, {}


def _fastapi(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    words = (
        *(str(serving.python), "-m", "uvicorn", "fastapi_app:app", f"--app-dir={PEERS}"),
        *("--host=127.0.0.1", "--port={rest_port}", f"--workers={serving.workers}"),
        *("--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"),
    )
    return words, {}


def _flask(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    workers = 1 if serving.workers == 1 else 2 * serving.workers + 1
    words = (
        *(str(serving.python), "-m", "gunicorn", "flask_app:app", f"--chdir={PEERS}", "--bind=127.0.0.1:{rest_port}"),
        *("--worker-class=gthread", "--threads=4", f"--workers={workers}"),
        *("--worker-tmp-dir=/dev/shm", "--no-control-socket", "--log-level=warning"),
    )
    return words, {}


def _mosec(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    words = (
        *(str(serving.python), str(PEERS / "mosec_app.py"), "--address=127.0.0.1", "--port={rest_port}"),
        *("--timeout=60000", "--log-level=warning", f"--path={serving.scratch / 'mosec'}"),
    )
    return words, {}


def _mosec_batching(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    words, _ = _mosec(serving)
    return words, {"MAX_BATCH_SIZE": "16", "MAX_WAIT_MS": "1"}


def _litserve(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    return (str(serving.python), str(PEERS / "litserve_app.py"), "{rest_port}"), {}


def _bentoml(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    words = (
        *(str(serving.python), "-m", "bentoml", "serve", "bentoml_app:Model", f"--working-dir={PEERS}"),
        *("--host=127.0.0.1", "--port={rest_port}"),
    )
    return words, {"BENTOML_HOME": str(serving.scratch), "BENTOML_DO_NOT_TRACK": "true"}


def _mlserver(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    folder = serving.scratch / "models"
    folder.mkdir(exist_ok=True)
    environment = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": "{rest_port}",
        "MLSERVER_GRPC_PORT": "{grpc_port}",
        "MLSERVER_METRICS_PORT": "{spare_port}",
        "MLSERVER_METRICS_DIR": str(serving.scratch / "metrics"),
        "MLSERVER_ENVIRONMENTS_DIR": str(serving.scratch / "environments"),
        "MLSERVER_DEBUG": "false",
        # The process that answers runs the model where there is no other.
        "MLSERVER_PARALLEL_WORKERS": str(serving.workers if serving.workers > 1 else 0),
        "MLSERVER_MODEL_NAME": serving.model,
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_runtime.OnnxRuntime",
    }
    return (serving.script("mlserver"), "start", str(folder)), environment


def _ray_serve(serving: Serving) -> tuple[Sequence[str], Mapping[str, str]]:
    environment = {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": str(INTRA_OP_THREADS),
    }
    return (str(serving.python), str(PEERS / "ray_serve_app.py"), "{rest_port}", "{grpc_port}"), environment


_RUNTIME = ("onnxruntime", "numpy")

_PEERS = (
    Peer(
        HOTSERVE,
        "hotserve",
        ("hotserve", *_RUNTIME, "uvloop"),
        (Line("hotserve, REST"), Line("hotserve, gRPC", "grpc")),
        _hotserve,
        "defaults; on all cores `--workers` is their number",
    ),
    Peer(
        "fastapi",
        "FastAPI",
        ("fastapi", "uvicorn", "pydantic", *_RUNTIME),
        (Line("FastAPI, plain JSON", path="/predict/plain"), Line("FastAPI, pydantic", path="/predict/typed")),
        _fastapi,
        "uvicorn with uvloop and httptools; on all cores a worker for each",
    ),
    Peer(
        "flask",
        "Flask",
        ("flask", "gunicorn", *_RUNTIME),
        (Line("Flask", path="/predict"),),
        _flask,
        "gunicorn, one `gthread` worker with 4 threads; on all cores 2 x cores + 1 workers",
        takes_silent_connections=False,
    ),
    Peer(
        "mosec",
        "mosec",
        ("mosec", *_RUNTIME),
        (Line("mosec", path="/inference"),),
        _mosec,
        "one worker; on all cores a worker for each",
        ready_path="/",
    ),
    Peer(
        "mosec-batching",
        "mosec, batching",
        ("mosec", *_RUNTIME),
        (Line("mosec, batching", path="/inference"),),
        _mosec_batching,
        "as mosec, `max_batch_size` 16 and `max_wait_time` 1 ms",
        ready_path="/",
        lives_with="mosec",
    ),
    Peer(
        "litserve",
        "LitServe",
        ("litserve", "torch", "fastapi", "uvicorn", *_RUNTIME),
        (Line("LitServe", path="/predict"),),
        _litserve,
        "one API server and one worker, `fast_queue`; on all cores one of each for each",
    ),
    Peer(
        "bentoml",
        "BentoML",
        ("bentoml", "uvicorn", "pydantic", *_RUNTIME),
        (Line("BentoML", path="/predict"),),
        _bentoml,
        "one worker; on all cores a worker for each",
    ),
    Peer(
        "mlserver",
        "MLServer",
        ("mlserver", "fastapi", "uvicorn", "grpcio", *_RUNTIME),
        (Line("MLServer, REST", form=V2), Line("MLServer, gRPC", "grpc", form=V2)),
        _mlserver,
        "a custom runtime, `debug` off, `parallel_workers` 0; on all cores `parallel_workers` is their number",
        ready_path="/v2/health/ready",
    ),
    Peer(
        "ray",
        "Ray Serve",
        ("ray", "fastapi", "uvicorn", "grpcio", *_RUNTIME),
        (Line("Ray Serve, REST", path="/predict"), Line("Ray Serve, gRPC", "grpc", form=V2)),
        _ray_serve,
        "one replica, `RAY_SERVE_THROUGHPUT_OPTIMIZED`; on all cores a replica for each",
        ready_path="/-/healthz",
        path=str(PEERS.parent),
    ),
)

"""Every metric of the server, declared once.

The names, labels and buckets under `/tensorflow/serving/` are TensorFlow Serving's, so that dashboards keep working;
those under `hotserve_` tell what the originals do not. Any thread may count; whoever scrapes reads without a lock.
"""

from __future__ import annotations

import threading
from bisect import bisect_right

from hotserve.observability.instruments import Counter, Histogram, HistogramCell, Instrument

# 10 * 1.8^i microseconds, as the *_latency metrics of tensorflow_serving/servables/tensorflow/util.cc.
LATENCY_LIMITS_US = tuple(10 * 1.8**i for i in range(33))

# 2^i, as request_example_counts in the same file.
EXAMPLE_COUNT_LIMITS = tuple(float(2**i) for i in range(15))

_RUNTIME_APIS = frozenset({"Predict", "Classify", "Regress"})
"""The calls whose runs the original counts; MultiInference is not among them."""

MAX_UNKNOWN_MODELS = 1000
"""How many names of models that do not exist get cells of their own."""

MAX_NAME_CHARACTERS = 256
"""Longer names than that get no cells of their own, unless a model of that name has answered."""

OTHER_MODELS = "(other)"
"""The name under which all further ones are counted: a client cannot fill the memory with made-up names."""


class _RunCells:
    """The cells of the runs of one signature by one API."""

    __slots__ = ("duration", "runtime_latency")

    def __init__(self, duration: HistogramCell, runtime_latency: HistogramCell | None) -> None:
        self.duration = duration
        self.runtime_latency = runtime_latency


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.request_count = Counter("/tensorflow/serving/request_count", ("model_name", "status"))
        self.request_latency = Histogram(
            "/tensorflow/serving/request_latency", ("model_name", "API", "entrypoint"), LATENCY_LIMITS_US
        )
        self.requests = Counter("hotserve_requests_total", ("model_name", "version", "API", "entrypoint", "status"))
        self.request_duration = Histogram(
            "hotserve_request_duration_microseconds",
            ("model_name", "version", "API", "entrypoint"),
            LATENCY_LIMITS_US,
        )
        self.model_warmup_latency = Histogram(
            "/tensorflow/serving/model_warmup_latency", ("model_path", "status"), LATENCY_LIMITS_US
        )
        self.model_warmup_records_read = Counter(
            "/tensorflow/serving/model_warmup_records_read", ("model_path", "status")
        )
        self.request_log_count = Counter("/tensorflow/serving/request_log_count", ("model_name", "status_code"))
        self.request_log_dropped = Counter("hotserve_request_log_dropped_total", ("model_name", "reason"))
        self.request_example_counts = Histogram(
            "/tensorflow/serving/request_example_counts", ("model",), EXAMPLE_COUNT_LIMITS
        )
        self.request_example_count_total = Counter("/tensorflow/serving/request_example_count_total", ("model",))
        self.runtime_latency = Histogram(
            "/tensorflow/serving/runtime_latency", ("model_name", "API", "runtime"), LATENCY_LIMITS_US
        )
        self.run_duration = Histogram(
            "hotserve_run_duration_microseconds",
            ("model_name", "version", "signature", "API", "runtime"),
            LATENCY_LIMITS_US,
        )
        self.queue_duration = Histogram(
            "hotserve_queue_duration_microseconds", ("model_name", "version", "signature"), LATENCY_LIMITS_US
        )
        self.graph_runs = Counter("/tensorflow/core/graph_runs", ())
        self.graph_run_time = Counter("/tensorflow/core/graph_run_time_usecs", ())
        self._lock = threading.Lock()  # guards what is written to kept cells
        self._run_cells: dict[tuple[str, str, str, str, str], _RunCells] = {}
        self._answering_models: set[str] = set()
        self._unknown_models: set[str] = set()

    def all(self) -> tuple[Instrument, ...]:
        """Every metric."""
        return (
            self.request_count,
            self.request_latency,
            self.requests,
            self.request_duration,
            self.model_warmup_latency,
            self.model_warmup_records_read,
            self.request_log_count,
            self.request_log_dropped,
            self.request_example_counts,
            self.request_example_count_total,
            self.runtime_latency,
            self.run_duration,
            self.queue_duration,
            self.graph_runs,
            self.graph_run_time,
        )

    def count_warmup(self, model_path: str, status: str, records: int, microseconds: float) -> None:
        """Counts one warm-up of a version with recorded requests.

        Args:
            model_path: The version folder.
            status: `OK`, or code and message of what went wrong, of which the beginning is kept.
            records: How many records were read.
            microseconds: How long it took.
        """
        status = status.partition("\n")[0][:MAX_NAME_CHARACTERS]
        self.model_warmup_latency.observe(microseconds, model_path, status)
        self.model_warmup_records_read.add(model_path, status, amount=records)

    def count_request(
        self, model: str, version: str, api: str, entrypoint: str, status: str, microseconds: float
    ) -> None:
        """Counts one request that has been answered.

        Args:
            model: The client's name for the model, also of one that does not exist; empty if it named none.
            version: The number of the version that answered; empty if none did.
            api: `predict` over REST and `Predict` over gRPC, as in the original; empty for REST's GET and OPTIONS.
            entrypoint: `REST` or `GRPC`.
            status: The name of the canonical code.
            microseconds: From the request's last byte to the answer.
        """
        if version:
            self._answering_models.add(model)
        else:
            model = self._bounded(model)
        self.request_count.add(model, status)
        self.requests.add(model, version, api, entrypoint, status)
        if status == "OK":
            self.request_latency.observe(microseconds, model, api, entrypoint)
            self.request_duration.observe(microseconds, model, version, api, entrypoint)

    def count_run(self, model: str, version: str, signature: str, api: str, runtime: str, microseconds: float) -> None:
        """Counts a run of the engine that went well, on behalf of one request; any thread may.

        Where requests share a run, each of them counts it, so that what it took is part of what each of them took;
        `count_graph_run` counts the run itself.

        Args:
            model: The model's name.
            version: The number of the version.
            signature: What was run.
            api: `Predict`, `Classify`, `Regress` or `MultiInference`, over REST, too.
            runtime: What ran it, as `runtime_of` names it: `TF1` for a TensorFlow session.
            microseconds: From the call of the engine to its answer.
        """
        key = (model, version, signature, api, runtime)
        cells = self._run_cells.get(key)
        if cells is None:
            cells = self._run_cells[key] = _RunCells(
                self.run_duration.cell(*key),
                self.runtime_latency.cell(model, api, runtime) if api in _RUNTIME_APIS else None,
            )
        bucket = bisect_right(LATENCY_LIMITS_US, microseconds)
        with self._lock:
            cells.duration.counts[bucket] += 1
            cells.duration.total += microseconds
            latency = cells.runtime_latency
            if latency is not None:
                latency.counts[bucket] += 1
                latency.total += microseconds

    def count_queue(self, model: str, version: str, signature: str, microseconds: float) -> None:
        """Counts how long a request waited before its run began; any thread may.

        Args:
            model: The model's name.
            version: The number of the version.
            signature: What was to be run.
            microseconds: From its arrival at the queue to the call of the engine; 0 if it did not wait.
        """
        cell = self.queue_duration.cell(model, version, signature)
        bucket = bisect_right(LATENCY_LIMITS_US, microseconds)
        with self._lock:
            cell.counts[bucket] += 1
            cell.total += microseconds

    def count_graph_run(self, microseconds: float) -> None:
        """Counts one run of an engine that went well, once, however many requests share it; any thread may.

        Args:
            microseconds: From the call of the engine to its answer.
        """
        self.graph_runs.add()
        self.graph_run_time.add(amount=round(microseconds))

    def count_examples(self, model: str, examples: int) -> None:
        """Counts the examples of one MultiInference call; as in the original, those of no other call."""
        self.request_example_counts.observe(examples, model)
        self.request_example_count_total.add(model, amount=examples)

    def _bounded(self, model: str) -> str:
        if model in self._answering_models or model in self._unknown_models:
            return model
        if len(self._unknown_models) >= MAX_UNKNOWN_MODELS or len(model) > MAX_NAME_CHARACTERS:
            return OTHER_MODELS
        self._unknown_models.add(model)
        return model

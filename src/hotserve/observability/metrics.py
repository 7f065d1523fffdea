"""Every metric of the server, declared once.

The names, labels and buckets under `/tensorflow/serving/` are TensorFlow Serving's, so that dashboards keep working;
those under `hotserve_` tell what the originals do not. Any thread may count; whoever scrapes reads without a lock.

Labels are looked up once: what happens on a request's path is counted in cells that are kept, by one look-up of one
key. `forget_version` and `forget_model` drop them again, so that versions and models may come and go for years.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from hotserve.observability import request_cells
from hotserve.observability.batch_metrics import SIZE_LIMITS, BatchMetrics
from hotserve.observability.instruments import Counter, Gauge, Histogram, HistogramCell, Instrument
from hotserve.observability.notes import Notes
from hotserve.observability.request_cells import RequestCells
from hotserve.observability.request_record import RequestRecord
from hotserve.observability.whole_runs import LoneRun, WholeRunCells, count_lone_runs, count_shared_run

# 10 * 1.8^i microseconds, as the *_latency metrics of tensorflow_serving/servables/tensorflow/util.cc.
LATENCY_LIMITS_US = tuple(10 * 1.8**i for i in range(33))

# 2^i, as request_example_counts in the same file.
EXAMPLE_COUNT_LIMITS = tuple(float(2**i) for i in range(15))

# 1000 * 2^i, as graph_run_time_usecs_histogram in tensorflow/core/framework/metrics.cc.
GRAPH_RUN_LIMITS_US = tuple(float(1000 * 2**i) for i in range(20))

_COUNTED_CALLS = frozenset({"Predict", "Classify", "Regress"})
"""The gRPC calls that the original counts, as requests and as runs; MultiInference is not among them."""

MAX_UNKNOWN_MODELS = 1000
"""How many names of models that do not exist get cells of their own."""

MAX_NAME_CHARACTERS = 256
"""Longer names than that get no cells of their own, unless a model of that name has answered."""

_OK = "OK"

OTHER_MODELS = "(other)"
"""The name under which all further ones are counted: a client cannot fill the memory with made-up names."""


def _forgets_nothing(model: str, version: str, model_path: str) -> None:
    """What else drops cells where nothing else has any."""


def _nothing() -> None:
    """What metrics that are counted as it happens need to be up to date."""


class _RunCells:
    """The cells of the runs of one signature by one API."""

    __slots__ = ("duration", "runtime_latency")

    def __init__(self, duration: HistogramCell, runtime_latency: HistogramCell | None) -> None:
        self.duration = duration
        self.runtime_latency = runtime_latency


class Metrics:
    """The metrics of one server."""

    def __init__(self, also_forget: Callable[[str, str, str], None] = _forgets_nothing) -> None:
        """Makes the metrics, all of them zero.

        Args:
            also_forget: Called with the arguments of `forget_version`, or of `forget_model` and two empty ones.
        """
        self._also_forget = also_forget
        self.request_count = Counter("/tensorflow/serving/request_count", ("model_name", "status"))
        self.request_latency = Histogram(
            "/tensorflow/serving/request_latency", ("model_name", "API", "entrypoint"), LATENCY_LIMITS_US
        )
        self.requests = Counter(
            "hotserve_requests_total", ("model_name", "version", "signature", "API", "entrypoint", "status")
        )
        self.request_duration = Histogram(
            "hotserve_request_duration_microseconds",
            ("model_name", "version", "signature", "API", "entrypoint"),
            LATENCY_LIMITS_US,
        )
        self.codec_duration = Histogram(
            "hotserve_codec_duration_microseconds",
            ("model_name", "version", "signature", "entrypoint", "stage"),
            LATENCY_LIMITS_US,
        )
        self.requests_in_flight = Gauge("hotserve_requests_in_flight", ("entrypoint",))
        self.received_bytes = Counter("hotserve_received_bytes_total", ("model_name", "entrypoint"))
        self.sent_bytes = Counter("hotserve_sent_bytes_total", ("model_name", "entrypoint"))
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
        self.graph_run_times = Histogram("/tensorflow/core/graph_run_time_usecs_histogram", (), GRAPH_RUN_LIMITS_US)
        self.loop_lag = Histogram("hotserve_event_loop_lag_microseconds", (), LATENCY_LIMITS_US)
        self.batching = BatchMetrics()
        self._groups: list[tuple[Sequence[Instrument], Callable[[], None]]] = []
        self._in_flight = {entrypoint: self.requests_in_flight.cell(entrypoint) for entrypoint in ("REST", "GRPC")}
        self._graph_cells = (self.graph_runs.cell(), self.graph_run_time.cell(), self.graph_run_times.cell())
        self._request_cells: dict[tuple[str, str, str, str, str, str], RequestCells] = {}
        self._run_cells: dict[tuple[str, str, str, str, str], _RunCells] = {}
        self._requests_noted: Notes[request_cells.Note] = Notes(self._count_requests)
        self._lone_runs_noted: Notes[LoneRun] = Notes(self._count_lone_runs)
        for instrument in (
            self.request_count,
            self.request_latency,
            self.requests,
            self.request_duration,
            self.codec_duration,
            self.received_bytes,
            self.sent_bytes,
        ):
            instrument.before_read = self._requests_noted.count
        for instrument in (
            self.runtime_latency,
            self.run_duration,
            self.queue_duration,
            self.graph_runs,
            self.graph_run_time,
            self.graph_run_times,
            self.batching.closed,
            self.batching.rows,
        ):
            instrument.before_read = self._lone_runs_noted.count
        self._answering_models: set[str] = set()
        self._unknown_models: set[str] = set()

    def all(self) -> tuple[Instrument, ...]:
        """Every metric."""
        own = [instrument for instrument in vars(self).values() if isinstance(instrument, Instrument)]
        return (
            *own,
            *self.batching.all(),
            *(instrument for instruments, _ in self._groups for instrument in instruments),
        )

    def add_group(self, instruments: Sequence[Instrument], refresh: Callable[[], None] = _nothing) -> None:
        """Adds metrics that somebody else keeps.

        Args:
            instruments: The metrics.
            refresh: Called before they are read, to set those that are looked up only then; must be quick.
        """
        self._groups.append((instruments, refresh))

    def refresh(self) -> None:
        """Brings up to date what is not counted as it happens; for whoever reads `all` next."""
        for _, refresh in self._groups:
            refresh()

    async def read(self) -> Sequence[Instrument]:
        """Every metric, up to date."""
        self.refresh()
        return self.all()

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

    def begin_request(self, record: RequestRecord) -> None:
        """Counts a request as one in flight; `count_request` has to follow, whatever comes of it."""
        self._in_flight[record.entrypoint].number += 1

    def count_request(self, record: RequestRecord, status: str, end: float | None = None) -> None:
        """Counts a request that has been answered; with the next ones, or when the metrics are read.

        Args:
            record: What is known of it.
            status: The name of the canonical code.
            end: When its answer was there, as `time.perf_counter` tells it; now if it is not given.
        """
        if end is None:
            end = time.perf_counter()
        model, version = record.model, record.version
        if not version:
            model = self.bounded_name(model)
        key = (model, version, record.signature, record.api, record.entrypoint, status)
        cells = self._request_cells.get(key)
        if cells is None:
            cells = self._request_cells[key] = self._new_request_cells(*key)
        cells.in_flight.number -= 1
        self._requests_noted.add(
            (cells, record.start, record.decoded, record.ran, end, record.received_bytes, record.sent_bytes)
        )

    def answered_cells(self, model: str, version: str, signature: str, api: str, entrypoint: str) -> RequestCells:
        """The cells of requests that are answered, for `count_gathered`.

        While one is in flight, whoever is to answer it counts it in `RequestCells.in_flight`.

        Args:
            model: The model's name.
            version: The number of the version that answers.
            signature: What is called.
            api: As `RequestRecord` has it.
            entrypoint: `REST` or `GRPC`.
        """
        return self.cells_of(model, version, signature, api, entrypoint, _OK)

    def cells_of(
        self, model: str, version: str, signature: str, api: str, entrypoint: str, status: str
    ) -> RequestCells:
        """The cells of requests that end with a status, the name of a canonical code; else as `answered_cells`."""
        key = (model, version, signature, api, entrypoint, status)
        cells = self._request_cells.get(key)
        if cells is None:
            cells = self._request_cells[key] = self._new_request_cells(*key)
        return cells

    def count_gathered(
        self,
        cells: RequestCells,
        starts: list[float],
        decoded: list[float],
        ran: float,
        end: float,
        received_bytes: int,
        sent_bytes: int,
    ) -> None:
        """As `count_request`, for each of several requests that were answered together, all of these cells.

        Args:
            cells: From `answered_cells`.
            starts: When each of them began, in seconds of `time.perf_counter`.
            decoded: When each was decoded.
            ran: When all had run.
            end: When all were answered.
            received_bytes: What came of all of them.
            sent_bytes: What they were answered with.
        """
        cells.in_flight.number -= len(starts)
        request_cells.count_together(cells, starts, decoded, ran, end, received_bytes, sent_bytes, LATENCY_LIMITS_US)

    def _count_requests(self, notes: Sequence[request_cells.Note]) -> None:
        request_cells.count(notes, LATENCY_LIMITS_US)

    def _count_lone_runs(self, runs: Sequence[LoneRun]) -> None:
        count_lone_runs(runs, self._graph_cells, LATENCY_LIMITS_US, GRAPH_RUN_LIMITS_US, SIZE_LIMITS)

    def _count_notes(self) -> None:
        """Counts what was only noted."""
        self._requests_noted.count()
        self._lone_runs_noted.count()

    def _new_request_cells(
        self, model: str, version: str, signature: str, api: str, entrypoint: str, status: str
    ) -> RequestCells:
        if version:
            self._answering_models.add(model)
        in_original = entrypoint == "REST" or api in _COUNTED_CALLS
        ok = status == _OK
        codec = (model, version, signature, entrypoint)
        return RequestCells(
            in_flight=self._in_flight[entrypoint],
            requests=self.requests.cell(model, version, signature, api, entrypoint, status),
            received=self.received_bytes.cell(model, entrypoint),
            sent=self.sent_bytes.cell(model, entrypoint),
            in_original=self.request_count.cell(model, status) if in_original else None,
            latency=self.request_latency.cell(model, api, entrypoint) if ok and in_original else None,
            duration=self.request_duration.cell(model, version, signature, api, entrypoint) if ok else None,
            decode=self.codec_duration.cell(*codec, "decode") if ok and signature else None,
            encode=self.codec_duration.cell(*codec, "encode") if ok and signature else None,
        )

    def count_run(
        self,
        model: str,
        version: str,
        signature: str,
        api: str,
        runtime: str,
        microseconds: float,
        *,
        requests: int = 1,
    ) -> None:
        """Counts a run of the engine that went well, on behalf of one request or of several; any thread may.

        Where requests share a run, each of them counts it, so that what it took is part of what each of them took;
        `count_graph_run` counts the run itself.

        Args:
            model: The model's name.
            version: The number of the version.
            signature: What was run.
            api: `Predict`, `Classify`, `Regress` or `MultiInference`, over REST, too.
            runtime: What ran it, as `runtime_of` names it: `TF1` for a TensorFlow session.
            microseconds: From the call of the engine to its answer.
            requests: How many requests of this kind shared the run.
        """
        key = (model, version, signature, api, runtime)
        cells = self._run_cells.get(key)
        if cells is None:
            cells = self._run_cells[key] = _RunCells(
                self.run_duration.cell(*key),
                self.runtime_latency.cell(model, api, runtime) if api in _COUNTED_CALLS else None,
            )
        bucket = bisect_right(LATENCY_LIMITS_US, microseconds)
        duration, latency = cells.duration, cells.runtime_latency
        duration.counts[bucket] += requests
        duration.total += requests * microseconds
        if latency is not None:
            latency.counts[bucket] += requests
            latency.total += requests * microseconds

    def whole_run_cells(
        self, model: str, version: str, signature: str, api: str, runtime: str, *, could_share: bool
    ) -> WholeRunCells:
        """What `count_lone_run` counts in; to be asked for once and kept for as long as the version is there.

        Args:
            model: As in `count_run`; and what follows.
            version: The number of the version.
            signature: What is run.
            api: What the client calls.
            runtime: What runs it.
            could_share: Whether the requests could have shared a run, which is then counted as a batch of one.
        """
        key = (model, version, signature)
        return WholeRunCells(
            self.run_duration.cell(*key, api, runtime),
            self.runtime_latency.cell(model, api, runtime) if api in _COUNTED_CALLS else None,
            self.queue_duration.cell(*key),
            self.batching.closed.cell(*key, "idle") if could_share else None,
            self.batching.rows.cell(*key) if could_share else None,
        )

    def count_lone_run(self, cells: WholeRunCells, microseconds: float, rows: int) -> None:
        """Counts a run on behalf of one request that did not wait; with the next ones, or when metrics are read.

        As `count_run`, `count_queue`, `count_graph_run` and, where it could have been shared, `batching.count_batch`
        do for any run that is not padded.

        Args:
            cells: Those of its kind.
            microseconds: From the call of the engine to its answer.
            rows: The rows of the request.
        """
        self._lone_runs_noted.add((cells, microseconds, rows))

    def count_shared_run(
        self, cells: WholeRunCells, started: float, seconds: float, rows: int, came: list[float]
    ) -> None:
        """Counts a run that requests have shared; see `whole_runs.count_shared_run`."""
        count_shared_run(cells, started, seconds, rows, came, LATENCY_LIMITS_US, SIZE_LIMITS)
        self.count_graph_run(1e6 * seconds)

    def count_warmup_run(self, model: str, api: str, runtime: str, microseconds: float) -> None:
        """Counts the run of a recorded warm-up request, where the original does; any thread may.

        It is not among the runs of requests by version: its version does not serve yet, and its model is what the
        record names.

        Args:
            model: The name in the record.
            api: As in `count_run`.
            runtime: As in `count_run`.
            microseconds: As in `count_run`.
        """
        if api in _COUNTED_CALLS:
            self.runtime_latency.observe(microseconds, self.bounded_name(model), api, runtime)
        self.count_graph_run(microseconds)

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
        cell.counts[bucket] += 1
        cell.total += microseconds

    def count_queues(self, model: str, version: str, signature: str, microseconds: Iterable[float]) -> None:
        """As `count_queue`, for each of the requests of a batch."""
        cell = self.queue_duration.cell(model, version, signature)
        counts, limits = cell.counts, LATENCY_LIMITS_US
        total = 0.0
        for waited in microseconds:
            counts[bisect_right(limits, waited)] += 1
            total += waited
        cell.total += total

    def count_graph_run(self, microseconds: float) -> None:
        """Counts one run of an engine that went well, once, however many requests share it; any thread may.

        Args:
            microseconds: From the call of the engine to its answer.
        """
        runs, time_, times = self._graph_cells
        bucket = bisect_right(GRAPH_RUN_LIMITS_US, microseconds)
        runs.number += 1
        time_.number += microseconds
        times.counts[bucket] += 1
        times.total += microseconds

    def count_examples(self, model: str, examples: int) -> None:
        """Counts the examples of one MultiInference call; as in the original, those of no other call."""
        self.request_example_counts.observe(examples, model)
        self.request_example_count_total.add(model, amount=examples)

    def forget_version(self, model: str, version: str, model_path: str) -> None:
        """Drops the cells of a version that is no more, of all metrics.

        Args:
            model: The model's name.
            version: The number of the version.
            model_path: The folder that it was loaded from; empty if it never was.
        """
        self._count_notes()
        for instrument in self.all():
            instrument.drop({"model_name": model, "version": version})
            if model_path:
                instrument.drop({"model_path": model_path})
        self._request_cells = {key: c for key, c in self._request_cells.copy().items() if key[:2] != (model, version)}
        self._run_cells = {key: c for key, c in self._run_cells.copy().items() if key[:2] != (model, version)}
        self.batching.forget_cells()
        self._also_forget(model, version, model_path)

    def forget_model(self, model: str) -> None:
        """Drops the cells of a model that is no longer configured, and of which no version is left."""
        self._count_notes()
        for instrument in self.all():
            instrument.drop({"model_name": model})
            instrument.drop({"model": model})
        self._request_cells = {key: c for key, c in self._request_cells.copy().items() if key[0] != model}
        self._run_cells = {key: c for key, c in self._run_cells.copy().items() if key[0] != model}
        self.batching.forget_cells()
        self._answering_models.discard(model)
        self._also_forget(model, "", "")

    def bounded_name(self, model: str) -> str:
        """The name to count a model under that may not exist: its own, or `OTHER_MODELS` if there are too many."""
        if model in self._answering_models or model in self._unknown_models:
            return model
        if len(self._unknown_models) >= MAX_UNKNOWN_MODELS or len(model) > MAX_NAME_CHARACTERS:
            return OTHER_MODELS
        self._unknown_models.add(model)
        return model

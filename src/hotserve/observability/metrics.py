"""Every metric of the server, declared once.

The names, labels and buckets under `/tensorflow/serving/` are TensorFlow Serving's, so that dashboards keep working;
those under `hotserve_` tell what the originals do not. Cells are plain numbers in dicts: each is written by one
thread (requests: the event loop; a version's warm-up: its load thread; logged requests: the log's writer), and read by
whoever scrapes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

# 10 * 1.8^i microseconds, as the *_latency metrics of tensorflow_serving/servables/tensorflow/util.cc.
LATENCY_LIMITS_US = tuple(10 * 1.8**i for i in range(33))

# 2^i, as request_example_counts in the same file.
EXAMPLE_COUNT_LIMITS = tuple(float(2**i) for i in range(15))

MAX_UNKNOWN_MODELS = 1000
"""How many names of models that do not exist get cells of their own."""

MAX_NAME_CHARACTERS = 256
"""Longer names than that get no cells of their own, unless a model of that name has answered."""

OTHER_MODELS = "(other)"
"""The name under which all further ones are counted: a client cannot fill the memory with made-up names."""


class Counter:
    """A number that only grows, per set of label values."""

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """Declares a counter.

        Args:
            name: The internal name; see `prometheus.render` for how it is exported.
            labels: The names of its labels.
        """
        self.name = name
        self.labels = tuple(labels)
        self._cells: dict[tuple[str, ...], int] = {}

    def add(self, *values: str, amount: int = 1) -> None:
        """Adds to the cell of these label values."""
        self._cells[values] = self._cells.get(values, 0) + amount

    def cells(self) -> Iterable[tuple[tuple[str, ...], int]]:
        """Label values -> number, as of now."""
        return sorted(self._cells.copy().items())


class HistogramCell:
    """The counts of one set of label values.

    Attributes:
        counts: How many values fell into each bucket; the last is everything from the last limit on.
        total: The sum of all values.
    """

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Histogram:
    """How values are distributed, per set of label values. Limits are exclusive, as in TensorFlow's monitoring."""

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        """Declares a histogram.

        Args:
            name: The internal name.
            labels: The names of its labels.
            limits: The upper limits of the buckets, ascending; a value equal to a limit counts in the next one.
        """
        self.name = name
        self.labels = tuple(labels)
        self.limits = tuple(limits)
        self._cells: dict[tuple[str, ...], HistogramCell] = {}

    def observe(self, value: float, *values: str) -> None:
        """Counts a value in the cell of these label values."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = HistogramCell(len(self.limits) + 1)
        cell.counts[bisect_right(self.limits, value)] += 1
        cell.total += value

    def cells(self) -> Iterable[tuple[tuple[str, ...], HistogramCell]]:
        """Label values -> counts, as of now."""
        return sorted(self._cells.copy().items(), key=lambda item: item[0])


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
        self._answering_models: set[str] = set()
        self._unknown_models: set[str] = set()

    def all(self) -> tuple[Counter | Histogram, ...]:
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

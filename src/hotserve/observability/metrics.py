"""Every metric of the server, declared once.

The names, labels and buckets under `/tensorflow/serving/` are TensorFlow Serving's, so that dashboards keep working;
those under `hotserve_` tell what the originals do not. Cells are plain numbers in dicts: each is written by one
thread (requests: the event loop), and read by whoever scrapes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

# 10 * 1.8^i microseconds, as the *_latency metrics of tensorflow_serving/servables/tensorflow/util.cc.
LATENCY_LIMITS_US = tuple(10 * 1.8**i for i in range(33))

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
        self._answering_models: set[str] = set()
        self._unknown_models: set[str] = set()

    def all(self) -> tuple[Counter | Histogram, ...]:
        """Every metric."""
        return (self.request_count, self.request_latency, self.requests, self.request_duration)

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

    def _bounded(self, model: str) -> str:
        if model in self._answering_models or model in self._unknown_models:
            return model
        if len(self._unknown_models) >= MAX_UNKNOWN_MODELS or len(model) > MAX_NAME_CHARACTERS:
            return OTHER_MODELS
        self._unknown_models.add(model)
        return model

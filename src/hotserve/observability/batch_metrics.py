"""The metrics of batching: TensorFlow Serving's, which count where batching is configured, and our own."""

from __future__ import annotations

from bisect import bisect_right

from hotserve.observability.instruments import Counter, Histogram, HistogramCell, Instrument, NumberCell

# 2^i, as the sizes of tensorflow_serving/batching/batching_util.h.
SIZE_LIMITS = tuple(float(2**i) for i in range(14))

# 100 * 1.2^i microseconds, as queuing_latency in tensorflow_serving/batching/batching_session.cc.
QUEUING_LIMITS_US = tuple(100 * 1.2**i for i in range(52))

_VERSION_LABELS = ("model_name", "version", "signature")


class BatchMetrics:
    """Counts requests that wait for batches, and batches."""

    def __init__(self) -> None:
        session = "/tensorflow/serving/batching_session/"
        self.queuing_latency = Histogram(f"{session}queuing_latency", ("thread_pool_name",), QUEUING_LIMITS_US)
        self.wrapped_run_count = Counter(f"{session}wrapped_run_count", ())
        self.padding_size = Histogram(f"{session}padding_size", ("execution_batch_size",), SIZE_LIMITS)
        self.input_batch_size = Histogram(f"{session}input_batch_size", (), SIZE_LIMITS)
        self.processed_batch_size = Histogram(f"{session}processed_batch_size", (), SIZE_LIMITS)
        self.closed = Counter("hotserve_batch_closed_total", (*_VERSION_LABELS, "reason"))
        self.rows = Histogram("hotserve_batch_rows", _VERSION_LABELS, SIZE_LIMITS)
        self.padding = Counter("hotserve_batch_padding_rows_total", _VERSION_LABELS)
        self.refused = Counter("hotserve_queue_refused_total", _VERSION_LABELS)
        self._batch_cells: dict[tuple[str, str, str, str], tuple[NumberCell, HistogramCell]] = {}
        self._padding_cells: dict[int, HistogramCell] = {}
        # Those without a model stay for ever.
        self._queuing_cell: HistogramCell | None = None
        self._input_cell: HistogramCell | None = None
        self._session_cells: tuple[NumberCell, HistogramCell] | None = None

    def all(self) -> tuple[Instrument, ...]:
        """Every metric of these."""
        return (
            self.queuing_latency,
            self.wrapped_run_count,
            self.padding_size,
            self.input_batch_size,
            self.processed_batch_size,
            self.closed,
            self.rows,
            self.padding,
            self.refused,
        )

    def count_request(self, rows: int, inputs: int) -> None:
        """Counts a request where batching is configured; as in the original, once for each of its tensors."""
        cell = self._input_cell
        if cell is None:
            cell = self._input_cell = self.input_batch_size.cell()
        cell.counts[bisect_right(SIZE_LIMITS, rows)] += inputs
        cell.total += rows * inputs

    def count_queuing(self, microseconds: float) -> None:
        """Counts how long a request waited for its batch to run, where batching is configured."""
        cell = self._queuing_cell
        if cell is None:
            cell = self._queuing_cell = self.queuing_latency.cell("")  # the original's label is empty
        cell.counts[bisect_right(QUEUING_LIMITS_US, microseconds)] += 1
        cell.total += microseconds

    def count_batch(
        self, model: str, version: str, signature: str, reason: str, rows: int, padding: int, *, is_session: bool
    ) -> None:
        """Counts one run that requests have shared, or could have.

        Args:
            model: The model's name.
            version: The number of the version.
            signature: What was run.
            reason: Why no more requests joined: `full`, `idle`, `timeout` or `shape`.
            rows: The rows of the requests.
            padding: The rows that were added to them.
            is_session: Whether batching is configured, so that TensorFlow Serving would count it.
        """
        key = (model, version, signature, reason)
        cells = self._batch_cells.get(key)
        if cells is None:
            cells = (self.closed.cell(*key), self.rows.cell(*key[:3]))
            self._batch_cells[key] = cells
        closed, sizes = cells
        closed.number += 1
        sizes.counts[bisect_right(SIZE_LIMITS, rows)] += 1
        sizes.total += rows
        if padding:
            self.padding.add(model, version, signature, amount=padding)
        if is_session:
            self._count_session(rows + padding, padding)

    def _count_session(self, size: int, padding: int) -> None:
        padded = self._padding_cells.get(size)
        if padded is None:
            padded = self._padding_cells[size] = self.padding_size.cell(str(size))
        padded.counts[bisect_right(SIZE_LIMITS, padding)] += 1
        padded.total += padding
        if self._session_cells is None:
            self._session_cells = (self.wrapped_run_count.cell(), self.processed_batch_size.cell())
        runs, processed = self._session_cells
        runs.number += 1
        processed.counts[bisect_right(SIZE_LIMITS, size)] += 1
        processed.total += size

    def forget_cells(self) -> None:
        """Looks cells up anew from now on, because some have been dropped from the metrics."""
        self._batch_cells = {}

"""What a user says about batching, checked, and the rules that follow for the requests of one signature."""

from __future__ import annotations

from dataclasses import dataclass

from hotserve.errors import ConfigError

DEFAULT_POOL_NAME = "batch_threads"
DEFAULT_MAX_BATCH_SIZE = 1000
DEFAULT_MAX_ENQUEUED_BATCHES = 10

NATURAL_MAX_ROWS = 128
"""The rows of a natural batch. The time per row of a small CNN stops falling between 16 and 64 rows; what is more only
makes the first request of a batch wait for the last."""

NATURAL_MAX_BYTES = 1 << 26
"""The inputs of a natural batch, in bytes: they are copied into one array."""


@dataclass(frozen=True, slots=True)
class BatchRules:
    """How the requests of one signature share runs.

    Attributes:
        max_rows: The most rows of a batch. A request that has more goes alone; 0 has every request go alone.
        max_bytes: The same for the bytes of the inputs.
        timeout_seconds: How long a batch waits for more rows; 0: it runs as soon as the engine is free.
        is_strict: Whether the checks of TensorFlow Serving's batching apply, to requests that go alone, too.
        max_request_rows: The most rows of one request, where the rules are strict.
        max_batches: The most batches that wait, where the rules are strict.
        splits: Whether a request is split where it does not fit into a batch.
        sizes: The numbers of rows that are run, ascending; empty for any.
        pads: Whether inputs are padded to the largest of their batch, in all dimensions but the first.
        pad_value: What with, in place of the first element of the same input. Strings are padded with empty ones.
    """

    max_rows: int
    max_bytes: int
    timeout_seconds: float = 0.0
    is_strict: bool = False
    max_request_rows: int = 0
    max_batches: int = 0
    splits: bool = False
    sizes: tuple[int, ...] = ()
    pads: bool = False
    pad_value: float | None = None

    def size_for(self, rows: int) -> int:
        """The number of rows that a batch of `rows` is padded to: the smallest allowed size that is large enough, or
        `rows` itself where none is."""
        return next((size for size in self.sizes if size >= rows), rows) if self.sizes else rows


ALONE = BatchRules(0, 0)
"""No two requests share a run."""

NATURAL = BatchRules(NATURAL_MAX_ROWS, NATURAL_MAX_BYTES)
"""What has come while the engine was busy goes in one run; nobody waits on purpose."""


@dataclass(frozen=True, slots=True)
class BatchingOptions:
    """TensorFlow Serving's `BatchingParameters`; a field that is None was not given.

    Attributes:
        max_batch_size: The most rows of a request and, without splitting, of a batch.
        batch_timeout_micros: How long an open batch waits for more rows, in microseconds.
        max_enqueued_batches: The most batches that wait.
        num_batch_threads: How many batches run at the same time; None for one per processor.
        thread_pool_name: A label.
        allowed_batch_sizes: The numbers of rows that are run, ascending; empty for any.
        pad_variable_length_inputs: Whether inputs of different shapes share batches.
        enable_large_batch_splitting: Whether requests are split over batches.
        max_execution_batch_size: The most rows of a batch, where requests are split.
        pad_value: What inputs are padded with; None for the first element of the input itself. Not in the original.

    Source: BatchingParameters in tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
    """

    max_batch_size: int | None = None
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = DEFAULT_MAX_ENQUEUED_BATCHES
    num_batch_threads: int | None = None
    thread_pool_name: str = DEFAULT_POOL_NAME
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None
    pad_value: float | None = None

    def __post_init__(self) -> None:
        """Refuses what the original refuses, and sizes that no batch can have.

        Raises:
            ConfigError: As said.
        """
        if self.num_batch_threads is not None and self.num_batch_threads < 1:
            raise ConfigError(f"num_batch_threads must be positive; was {self.num_batch_threads}")
        if self.batch_timeout_micros < 0:
            raise ConfigError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.max_enqueued_batches < (1 if self.enable_large_batch_splitting else 0):
            what = "positive" if self.enable_large_batch_splitting else "non-negative"
            raise ConfigError(f"max_enqueued_batches must be {what}; was {self.max_enqueued_batches}")
        if self.request_limit < 1:
            raise ConfigError(f"max_batch_size must be positive; was {self.max_batch_size}")
        if self.allowed_batch_sizes and self.allowed_batch_sizes[-1] != self.request_limit:
            raise ConfigError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was"
                f" {self.allowed_batch_sizes[-1]}; expected {self.request_limit}"
            )
        if any(b <= a for a, b in zip((0, *self.allowed_batch_sizes), self.allowed_batch_sizes, strict=False)):
            raise ConfigError(
                f"allowed_batch_sizes must be positive and ascend; were {', '.join(map(str, self.allowed_batch_sizes))}"
            )
        if self.enable_large_batch_splitting and self.execution_limit > self.request_limit:
            raise ConfigError(
                "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to"
                f" max_execution_batch_size. input_batch_size_limit is {self.request_limit}, and"
                f" max_execution_batch_size is {self.execution_limit}. input_batch_size_limit is max_batch_size."
            )
        if self.enable_large_batch_splitting and self.execution_limit < 1:
            raise ConfigError(f"max_execution_batch_size must be positive; was {self.max_execution_batch_size}")

    @property
    def request_limit(self) -> int:
        """The most rows of one request."""
        return DEFAULT_MAX_BATCH_SIZE if self.max_batch_size is None else self.max_batch_size

    @property
    def execution_limit(self) -> int:
        """The most rows of one batch. Unlike in the original, this is never 0 for want of a `max_batch_size`."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.request_limit

    def rules(self) -> BatchRules:
        """What follows for the requests of each signature."""
        return BatchRules(
            max_rows=self.execution_limit,
            max_bytes=2**63,
            timeout_seconds=self.batch_timeout_micros / 1e6,
            is_strict=True,
            max_request_rows=self.request_limit,
            max_batches=max(1, self.max_enqueued_batches),
            splits=self.enable_large_batch_splitting,
            sizes=self.allowed_batch_sizes,
            pads=self.pad_variable_length_inputs,
            pad_value=self.pad_value,
        )

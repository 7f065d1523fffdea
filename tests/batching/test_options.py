from __future__ import annotations

from typing import Any

import pytest

from hotserve.batching.options import BatchingOptions
from hotserve.errors import ConfigError


def test_the_defaults_are_those_of_tensorflow_serving() -> None:
    rules = BatchingOptions().rules()
    assert (rules.max_rows, rules.max_request_rows, rules.max_batches) == (1000, 1000, 10)
    assert rules.timeout_seconds == 0
    assert not rules.splits
    assert not rules.pads
    assert rules.is_strict


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
        (
            {"max_enqueued_batches": 0, "enable_large_batch_splitting": True},
            "max_enqueued_batches must be positive; was 0",
        ),
        ({"max_enqueued_batches": -1}, "max_enqueued_batches must be non-negative; was -1"),
        ({"max_batch_size": 0}, "max_batch_size must be positive; was 0"),
        (
            {"max_batch_size": 8, "allowed_batch_sizes": (2, 4)},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        (
            {"allowed_batch_sizes": (2, 4)},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 1000",
        ),
        ({"max_batch_size": 8, "allowed_batch_sizes": (4, 2, 8)}, "allowed_batch_sizes must be positive and ascend"),
        (
            {"max_batch_size": 8, "max_execution_batch_size": 16, "enable_large_batch_splitting": True},
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to"
            " max_execution_batch_size.",
        ),
        (
            {"max_batch_size": 8, "max_execution_batch_size": 0, "enable_large_batch_splitting": True},
            "max_execution_batch_size must be positive",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_the_original(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BatchingOptions(**options)
    assert caught.value.message.startswith(text)


def test_no_waiting_batch_means_one_unless_requests_are_split() -> None:
    assert BatchingOptions(max_enqueued_batches=0).rules().max_batches == 1


def test_splitting_runs_batches_of_their_own_size_and_takes_requests_up_to_the_limit() -> None:
    options = BatchingOptions(max_batch_size=64, max_execution_batch_size=16, enable_large_batch_splitting=True)
    assert (options.rules().max_rows, options.rules().max_request_rows) == (16, 64)
    assert BatchingOptions(max_batch_size=64, max_execution_batch_size=16).rules().max_rows == 64
    assert BatchingOptions(max_batch_size=64, enable_large_batch_splitting=True).rules().max_rows == 64


def test_a_batch_is_padded_to_the_next_allowed_size_if_there_is_one() -> None:
    rules = BatchingOptions(max_batch_size=8, allowed_batch_sizes=(2, 4, 8)).rules()
    assert [rules.size_for(rows) for rows in (1, 2, 3, 5, 8, 9)] == [2, 2, 4, 8, 8, 9]
    assert BatchingOptions().rules().size_for(3) == 3

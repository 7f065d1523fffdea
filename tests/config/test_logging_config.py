from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hotserve.config.model_config import read_model_config
from hotserve.errors import Code, ServingError
from hotserve.observability.request_log import RequestLogConfig


def request_log(folder: Path, logging_config: str) -> RequestLogConfig | None:
    file = folder / "models.config"
    file.write_text(f"model_config_list {{ config {{ name: 'm' base_path: 'm' {logging_config} }} }}")
    (model,) = read_model_config(file)
    return model.request_log


def collector(type: str, prefix: str) -> str:
    return f"log_collector_config {{ type: '{type}' filename_prefix: '{prefix}' }}"


def test_without_a_logging_config_nothing_is_logged(tmp_path: Path) -> None:
    assert request_log(tmp_path, "") is None


@pytest.mark.parametrize("type", ["tfrecord", "jsonl"])
def test_type_prefix_and_rate_are_read_and_a_relative_prefix_is_meant_from_the_file(tmp_path: Path, type: str) -> None:
    config = f"logging_config {{ {collector(type, 'requests')} sampling_config {{ sampling_rate: 0.25 }} }}"

    assert request_log(tmp_path, config) == RequestLogConfig(type, tmp_path / "requests", 0.25)


def test_an_absolute_prefix_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()

    config = request_log(tmp_path, f"logging_config {{ {collector('jsonl', str(tmp_path / 'logs' / 'm'))} }}")

    assert config is not None
    assert config.prefix == tmp_path / "logs" / "m"


@pytest.mark.parametrize(
    ("sampling", "rate"),
    [
        ("sampling_rate: 0.5 per_task_sampling_configs { sampling_rate: 0.1 }", 0.1),
        ("sampling_rate: 0.5 per_task_sampling_configs { dc: 'eu' sampling_rate: 0.1 }", 0.5),
        ("sampling_rate: 0.5 per_task_sampling_configs { task_index: 0 sampling_rate: 0.1 }", 0.5),
        (
            "per_task_sampling_configs { dc: 'eu' sampling_rate: 0.1 } per_task_sampling_configs { sampling_rate: 0.2 }"
            " per_task_sampling_configs { sampling_rate: 0.3 }",
            0.2,
        ),
    ],
)
def test_the_first_rate_that_is_not_for_another_task_counts(tmp_path: Path, sampling: str, rate: float) -> None:
    config = request_log(
        tmp_path, f"logging_config {{ {collector('jsonl', 'requests')} sampling_config {{ {sampling} }} }}"
    )

    assert config is not None
    assert config.sampling_rate == rate


def test_a_config_that_samples_nothing_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        request_log(tmp_path, f"logging_config {{ {collector('jsonl', 'requests')} }}")

    assert "no request is logged" in caplog.text


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        (collector("kafka", "x"), Code.NOT_FOUND, "Cannot find LogCollector::Factory for type: kafka. Expected"),
        ("", Code.NOT_FOUND, "Cannot find LogCollector::Factory for type: . Expected"),
        (collector("jsonl", ""), Code.INVALID_ARGUMENT, 'Model m: filename_prefix is "".'),
        (collector("jsonl", "logs/"), Code.INVALID_ARGUMENT, 'Model m: filename_prefix is "logs/".'),
        (collector("jsonl", "not/there"), Code.INVALID_ARGUMENT, "Model m: requests cannot be logged at "),
        (collector("jsonl", "models.config/x"), Code.INVALID_ARGUMENT, "Model m: requests cannot be logged at "),
        (
            collector("jsonl", "x") + " sampling_config { sampling_rate: 1.5 }",
            Code.INVALID_ARGUMENT,
            "Model m: sampling_rate is 1.5. Expected a share of requests, from 0 to 1.",
        ),
        (
            collector("jsonl", "x") + " sampling_config { sampling_rate: nan }",
            Code.INVALID_ARGUMENT,
            "Model m: sampling_rate is nan.",
        ),
        (
            "custom_logging_config { type_url: 'x/y' }",
            Code.INVALID_ARGUMENT,
            "Model m: custom_logging_config is not supported.",
        ),
    ],
)
def test_what_cannot_be_logged_is_an_error_when_the_config_is_read(
    tmp_path: Path, config: str, code: Code, words: str
) -> None:
    with pytest.raises(ServingError) as caught:
        request_log(tmp_path, f"logging_config {{ {config} }}")

    assert caught.value.code is code
    assert caught.value.message.startswith(words)

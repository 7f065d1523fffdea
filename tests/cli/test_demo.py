from __future__ import annotations

import pytest

from hotserve.cli.demo import demo
from hotserve.errors import ConfigError


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--model_base_path=models/m", "hotserve serve"),
        ("--model_config_file=models.config", "hotserve serve"),
        ("--rest_api_port=0", "Expected a port"),
        ("--rest_api_prot=1", "Did you mean --rest_api_port"),
    ],
)
def test_a_flag_that_the_demo_has_no_use_for_is_refused_with_what_to_do(flag: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        demo([flag])

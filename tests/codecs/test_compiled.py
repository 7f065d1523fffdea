from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hotserve.codecs import compiled
from hotserve.codecs.compiled import EXTENSION, SWITCH, describe_codec

SHOWS = "from hotserve.codecs.compiled import describe_codec; print(describe_codec())"


def shown(code: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.skipif(EXTENSION is None, reason="hotserve was installed without a C compiler")
def test_the_extension_is_used_where_it_is_there_unless_a_variable_says_otherwise() -> None:
    assert shown(SHOWS, {SWITCH: ""}) == "compiled"
    assert shown(SHOWS, {SWITCH: "1"}) == "plain Python (HOTSERVE_NO_EXTENSION is set)"


def test_everything_works_without_the_extension() -> None:
    missing = "import sys; sys.modules['hotserve.codecs._fast'] = None; "
    assert shown(missing + SHOWS, {}) == "plain Python (installed without a C compiler)"
    predicts = (
        "import numpy as np;"
        "from hotserve.codecs.json_predict import read_predict_body;"
        "from hotserve.codecs.json_response import encode_predictions;"
        "from hotserve.tensors import *;"
        "x = read_predict_body(b'{\"instances\": [[1, 2.5]]}').decode("
        "Signature({'x': TensorSpec(DType.FLOAT, None)}, {}), '').inputs['x'];"
        "print(encode_predictions({'y': x}, True).decode())"
    )
    assert shown(missing + predicts, {}) == '{\n    "predictions": [[1.0, 2.5]\n    ]\n}'


def test_an_extension_of_other_sources_is_not_used() -> None:
    other = "import sys, types; sys.modules['hotserve.codecs._fast'] = types.SimpleNamespace(REVISION=-1); "
    assert "another version" in shown(other + SHOWS, {})


def test_this_process_says_which_codec_it_uses() -> None:
    assert (describe_codec() == "compiled") == compiled.IS_USED

from __future__ import annotations

from math import inf

import pytest

from hotserve.platforms.engines.domain import Bounds, Domain
from hotserve.platforms.engines.findings import (
    EngineFinding,
    Examination,
    SignatureFindings,
    examination_from_json,
)

DOMAIN = Domain({"x": (None, 2)}, {"x": Bounds(0, 9)})
EXAMINATION = Examination(
    {
        "serving_default": SignatureFindings(
            3,
            "",
            {1: 1e-3, 32: 0.02},
            {
                "onnxruntime": EngineFinding(
                    "", False, Domain({"x": (None, 2)}, {"x": Bounds(0, 9)}), 0.1, 1e-7, {1: 1e-4}
                ),
                "openvino": EngineFinding("differs", True, None, inf, 0.5),
            },
            12,
            (SignatureFindings(4, "", {1: 1e-3}, {"onnxruntime": EngineFinding(domain=Domain({"x": ()}))}, 5),),
            0.25,
            2,
        ),
        "random": SignatureFindings(bound="it is random (RandomUniform)"),
    },
    {"onnxruntime": "1.2", "openvino": "3.4"},
    1000.5,
    20.25,
)


def test_an_examination_survives_a_file() -> None:
    assert examination_from_json(EXAMINATION.to_json()) == EXAMINATION


def test_speed_is_the_mean_ratio_over_the_numbers_of_rows_that_were_timed() -> None:
    assert EXAMINATION.signatures["serving_default"].speed("onnxruntime") == pytest.approx(10)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 3}', "null", EXAMINATION.to_json().replace('"format": 3', '"format": 2')]
)
def test_what_is_no_examination_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        examination_from_json(text)

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from hotserve.platforms.by_content import ByContentLoader
from hotserve.platforms.warmup import no_warm_up


class Doubler(tf.Module):
    """With one function, which TensorFlow takes for the signature."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}


@pytest.mark.parametrize("has_signature", [False, True])
def test_a_model_that_nobody_can_call_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_signature: bool
) -> None:
    tf.saved_model.save(Doubler() if has_signature else tf.Module(), str(tmp_path / "1"))
    ByContentLoader(warm_up=no_warm_up).load(tmp_path / "1").unload()
    told = [record.getMessage() for record in caplog.records if record.name == "hotserve.platforms.by_content"]
    assert told == (
        []
        if has_signature
        else [
            f"{tmp_path / '1'} has no signature that a client could call. TensorFlow writes them with"
            " tf.saved_model.save(..., signatures=...), and Keras with model.export."
        ]
    )

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import tensorflow as tf

import hotserve.demo
from hotserve.cli.main import main
from hotserve.cli.tune import FAILED
from hotserve.cli.tune_progress import TuneProgress
from hotserve.platforms.engines.cache import BESIDE_MODEL
from hotserve.platforms.engines.installed import convertible, installed_versions

DIGITS = Path(hotserve.demo.__file__).parent / "digits"

needs_engines = pytest.mark.skipif(
    not convertible(installed_versions()), reason="no engine is installed that a SavedModel can be converted for"
)


class Doubler(tf.Module):
    """Twice `x`."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model = Doubler()
    tf.saved_model.save(model, str(tmp_path / "doubler" / "1"), {"serving_default": model.double})
    return tmp_path / "doubler"


def tune(base: Path, *words: str) -> int:
    return main(["tune", str(base), f"--engine_cache_dir={base.parent / 'cache'}", *words])


@pytest.mark.slow
@needs_engines
def test_what_is_found_out_is_kept_beside_the_version_and_shown_and_not_done_twice(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(base, "--json") == 0
    captured = capsys.readouterr()
    (version,) = json.loads(captured.out)["versions"]
    found = version["signatures"]["serving_default"]
    assert set(found["largest_difference"]) == set(convertible(installed_versions()))
    assert all(difference == 0 for difference in found["largest_difference"].values())
    assert all(seconds > 0 for runs in found["seconds"].values() for seconds in runs.values())
    assert "comparing " in captured.err
    assert f"{base / '1'}: converting\n" in captured.err
    (entry,) = (base / "1" / BESIDE_MODEL).iterdir()
    assert f"kept in {entry}" in captured.err
    made = entry.stat().st_ino

    # Another user of the folder has no cache of their own.
    assert main(["tune", str(base), f"--engine_cache_dir={base.parent / 'other'}"]) == 0
    captured = capsys.readouterr()
    assert "examined already" in captured.err
    assert "largest difference 0\n" in captured.out
    assert entry.stat().st_ino == made


@needs_engines
def test_an_examination_that_takes_too_long_is_said_to_have_failed(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(base, "--timeout=0.01") == FAILED
    captured = capsys.readouterr()
    assert "it took longer than 0.01 s" in captured.err
    assert "engine    tensorflow: it took longer" in captured.out


@needs_engines
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_version_folder_that_cannot_be_written_is_an_error(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "1").chmod(0o500)
    assert tune(base) == FAILED
    assert "Permission denied" in capsys.readouterr().err


@needs_engines
def test_what_is_no_saved_model_has_nothing_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", str(DIGITS), f"--engine_cache_dir={tmp_path}"]) == FAILED
    assert "holds no complete SavedModel" in capsys.readouterr().err
    assert main(["tune", str(tmp_path / "none")]) == FAILED
    assert "is no folder" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(output: io.StringIO) -> str:
    seconds = iter(range(100))
    progress = TuneProgress(output, lambda: float(next(seconds)))
    progress.begin(Path("m/1"))
    progress.show("converting", 0.2)
    progress.show("converting", 0.2)
    progress.show("comparing signature serving_default", 0.6)
    progress.say("m/1: took 4 s")
    progress.clear()
    return output.getvalue()


def test_on_a_terminal_a_bar_shows_how_far_an_examination_is() -> None:
    shown = shown_on(Terminal())
    assert "\rm/1 [######........................] 1.0 s, converting\x1b[K" in shown
    assert "\rm/1 [######........................] 2.0 s, converting\x1b[K" in shown
    assert "\rm/1 [##################............] 3.0 s, comparing signature serving_default\x1b[K" in shown
    assert shown.endswith("\r\x1b[Km/1: took 4 s\n")


def test_elsewhere_each_step_is_a_line() -> None:
    assert shown_on(io.StringIO()).splitlines() == [
        "m/1: converting",
        "m/1: comparing signature serving_default",
        "m/1: took 4 s",
    ]

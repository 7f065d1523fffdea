from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hotserve.core.servable import Servable
from hotserve.errors import ServingError
from hotserve.platforms.registry import loader_for, missing_parts, recognise
from hotserve.platforms.warmup import made_up_inputs, warm_up
from hotserve.tensors import DEFAULT_SIGNATURE, Array


class PlatformContract:
    """What every platform promises. A test class inherits this, names the platform and gives two fixtures:

    - `version_folder`: a whole version folder, whose default signature takes some made-up inputs,
    - `good_inputs`: inputs for the default signature that it does not refuse.
    """

    platform: str
    needed_files: tuple[str, ...]

    @pytest.fixture
    def servable(self, version_folder: Path) -> Servable:
        return loader_for(self.platform).load(version_folder)

    def test_a_folder_is_told_by_its_content(self, version_folder: Path) -> None:
        entry = recognise(version_folder)
        assert entry is not None
        assert entry.name == self.platform

    def test_a_whole_folder_misses_nothing(self, version_folder: Path) -> None:
        assert missing_parts(version_folder) is None

    def test_a_folder_that_lacks_a_file_says_which(self, version_folder: Path, tmp_path: Path) -> None:
        for name in self.needed_files:
            copy = tmp_path / name.replace("/", "-")
            shutil.copytree(version_folder, copy)
            (copy / name).unlink()
            reason = missing_parts(copy)
            assert reason is not None
            assert Path(name).name in reason or "does not appear to contain" in reason

    def test_a_folder_with_a_cut_file_is_not_whole(self, version_folder: Path, tmp_path: Path) -> None:
        for name in self.needed_files:
            content = (version_folder / name).read_bytes()
            copy = tmp_path / name.replace("/", "-")
            shutil.copytree(version_folder, copy)
            (copy / name).write_bytes(content[: len(content) // 2])
            reason = missing_parts(copy)
            assert reason is not None
            assert Path(name).name in reason

    def test_a_damaged_folder_is_refused_in_words(self, version_folder: Path, tmp_path: Path) -> None:
        copy = tmp_path / "damaged"
        shutil.copytree(version_folder, copy)
        for name in self.needed_files:
            (copy / name).write_bytes(b"\xff\x00 this is no model")
        with pytest.raises(ServingError) as raised:
            loader_for(self.platform).load(copy)
        assert len(raised.value.message) > 10

    def test_signatures_name_their_tensors(self, servable: Servable) -> None:
        signature = servable.signatures[DEFAULT_SIGNATURE]
        assert signature.inputs
        assert signature.outputs
        assert signature.method_name == "tensorflow/serving/predict"

    def test_a_run_gives_exactly_the_outputs_asked_for(self, servable: Servable, good_inputs: dict[str, Array]) -> None:
        signature = servable.signatures[DEFAULT_SIGNATURE]
        results = servable.run(DEFAULT_SIGNATURE, good_inputs, list(signature.outputs))
        assert list(results) == list(signature.outputs)
        for name, spec in signature.outputs.items():
            assert results[name].dtype == spec.dtype.numpy
            assert spec.accepts(results[name].shape)
            alone = servable.run(DEFAULT_SIGNATURE, good_inputs, [name])
            assert list(alone) == [name]
            np.testing.assert_array_equal(alone[name], results[name])

    def test_inputs_may_be_read_only_and_are_left_as_they_are(
        self, servable: Servable, good_inputs: dict[str, Array]
    ) -> None:
        before = {name: value.copy() for name, value in good_inputs.items()}
        for value in good_inputs.values():
            value.flags.writeable = False
        servable.run(DEFAULT_SIGNATURE, good_inputs, list(servable.signatures[DEFAULT_SIGNATURE].outputs))
        for name, value in good_inputs.items():
            np.testing.assert_array_equal(value, before[name])

    def test_threads_run_one_servable_at_the_same_time(self, servable: Servable, good_inputs: dict[str, Array]) -> None:
        outputs = list(servable.signatures[DEFAULT_SIGNATURE].outputs)
        expected = servable.run(DEFAULT_SIGNATURE, good_inputs, outputs)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: servable.run(DEFAULT_SIGNATURE, good_inputs, outputs), range(200)))
        for answer in answers:
            for name in outputs:
                np.testing.assert_array_equal(answer[name], expected[name])

    def test_versions_of_one_folder_live_apart(self, version_folder: Path, good_inputs: dict[str, Array]) -> None:
        first, second = (loader_for(self.platform).load(version_folder) for _ in range(2))
        outputs = list(first.signatures[DEFAULT_SIGNATURE].outputs)
        expected = first.run(DEFAULT_SIGNATURE, good_inputs, outputs)
        first.unload()
        answer = second.run(DEFAULT_SIGNATURE, good_inputs, outputs)
        second.unload()
        for name in outputs:
            np.testing.assert_array_equal(answer[name], expected[name])

    def test_folders_load_in_several_threads_at_once(self, version_folder: Path) -> None:
        with ThreadPoolExecutor(4) as threads:
            servables = list(threads.map(lambda _: loader_for(self.platform).load(version_folder), range(8)))
        for servable in servables:
            assert DEFAULT_SIGNATURE in servable.signatures
            servable.unload()

    def test_a_version_warms_up(self, servable: Servable) -> None:
        assert made_up_inputs(servable.signatures[DEFAULT_SIGNATURE]) is not None
        warm_up(servable)

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import Latest
from hotserve.platforms.registry import missing_parts
from hotserve.sources.folder import WatchedModel
from hotserve.sources.local import LocalStorage
from hotserve.sources.poller import Poller
from hotserve.testing import FakeClock

COPIES = 50
LOOKS_UNTIL_LOADABLE = 3
PATIENCE = 60.0
"""Seconds until a test gives up; nothing here takes that long unless it fails."""


@dataclass(frozen=True)
class Model:
    """A version folder to copy.

    Attributes:
        path: Where it is.
        size_unknown: The files whose names the other files tell, but not their sizes.
        unannounced: The files that nothing tells to be there at all.
    """

    path: Path
    size_unknown: frozenset[str] = frozenset()
    unannounced: frozenset[str] = frozenset()

    @property
    def files(self) -> list[str]:
        return sorted(str(file.relative_to(self.path)) for file in self.path.rglob("*") if file.is_file())

    def is_known_to_lack(self, copy: Path) -> bool:
        """Whether what is there already tells that something is still to come."""
        for name in set(self.files) - self.unannounced:
            file = copy / name
            if not file.exists():
                return True
            if name not in self.size_unknown and file.stat().st_size < (self.path / name).stat().st_size:
                return True
        return False


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Variables in four shards, and an asset."""
    import tensorflow as tf  # takes seconds to import, and only these tests need it

    folder = tmp_path_factory.mktemp("saved_model")
    words = folder / "words.txt"
    words.write_text("word\n" * 500)

    class Dense(tf.Module):  # type: ignore[misc]  # tensorflow has no types
        def __init__(self) -> None:
            super().__init__()
            self.first = tf.Variable(tf.random.stateless_normal([64, 256], seed=[1, 2]))
            self.second = tf.Variable(tf.random.stateless_normal([256, 64], seed=[3, 4]))
            self.words = tf.saved_model.Asset(str(words))

        @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            length = tf.strings.length(tf.io.read_file(self.words.asset_path))
            return {"y": x @ self.first @ self.second + tf.cast(length, tf.float32)}

    model = Dense()
    tf.saved_model.save(
        model,
        str(folder / "1"),
        signatures=model.__call__,
        options=tf.saved_model.SaveOptions(
            experimental_sharding_callback=tf.train.experimental.MaxShardSizePolicy(max_shard_size=40_000)
        ),
    )
    made = Model(folder / "1", frozenset({"assets/words.txt"}), frozenset({"fingerprint.pb"}))
    assert {"saved_model.pb", "variables/variables.index", "variables/variables.data-00003-of-00004"} < set(made.files)
    return made


@pytest.fixture(scope="module")
def onnx_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Two weights, each in a file of its own."""
    folder = tmp_path_factory.mktemp("onnx_model") / "1"
    folder.mkdir()
    numbers = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(numbers.random((64, 256), np.float32), "first"),
        numpy_helper.from_array(numbers.random((256, 64), np.float32), "second"),
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "first"], ["h"]), helper.make_node("MatMul", ["h", "second"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 64])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"), save_as_external_data=True, all_tensors_to_one_file=False)
    made = Model(folder)
    assert made.files == ["first", "model.onnx", "second"]
    return made


@pytest.fixture(params=["saved_model", "onnx_model"])
def model(request: pytest.FixtureRequest) -> Model:
    made: Model = request.getfixturevalue(request.param)
    assert missing_parts(made.path) is None
    return made


def copy_in_pieces(
    model: Model, target: Path, files: Sequence[str], chance: random.Random
) -> Generator[None, None, None]:
    """Copies file by file; stops after every change that others can see, the last one being the end of the copy.

    A file grows in place, as with `cp`, or under another name, as with rsync and many a download tool.
    """
    for name in files:
        content = (model.path / name).read_bytes()
        final = target / name
        final.parent.mkdir(parents=True, exist_ok=True)
        in_place = chance.random() < 0.7
        growing = final if in_place else final.with_name(f".{final.name}.Xb3k9Q")
        cuts = {chance.randrange(1, len(content)) for _ in range(chance.randrange(6))}
        if chance.random() < 0.5:
            cuts.add(len(content) - 1)  # all but the last byte
        with growing.open("wb", buffering=0) as file:
            yield  # empty
            start = 0
            for end in (*sorted(cuts), len(content)):
                file.write(content[start:end])
                start = end
                yield
        if not in_place:
            os.replace(growing, final)
            yield


class Target:
    """Who is told: model -> how often, and the versions that may be loaded."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.loadable: dict[str, set[int]] = {}
        self.first_loadable: dict[tuple[str, int], int] = {}
        self._changed = threading.Condition()

    def set_aspired(self, name: str, versions: Sequence[AspiredVersion]) -> None:
        with self._changed:
            self.told[name] = self.told.get(name, 0) + 1
            self.loadable[name] = {v.id.version for v in versions if not v.waiting_for}
            for version in self.loadable[name]:
                self.first_loadable.setdefault((name, version), self.told[name])
            self._changed.notify_all()

    def wait_until_loadable(self, name: str, version: int) -> int:
        """The number of the call that first said so."""
        with self._changed:
            assert self._changed.wait_for(lambda: (name, version) in self.first_loadable, PATIENCE)
            return self.first_loadable[name, version]


def test_a_copy_is_loadable_soon_after_its_last_byte_and_never_before_whatever_its_order_pieces_and_stalls(
    model: Model, tmp_path: Path
) -> None:
    # A stall may be of any length while the files that are there tell that more is to come. When only the size of an
    # asset or a file that nothing mentions is missing, nobody can know, and a stall has to be shorter than two looks.
    for seed in range(COPIES):
        chance = random.Random(seed)
        target = Target()
        base_path = tmp_path / str(seed)
        for _ in copy_in_pieces(model, base_path / "1", model.files, chance):
            pass
        # Time stands still, so that nothing ever counts as old.
        watched = WatchedModel("m", base_path, Latest())
        poller = Poller([watched], target, LocalStorage(), missing_parts, clock=FakeClock(time.time()))
        poller.look()
        poller.look()
        assert target.loadable["m"] == {1}
        copy = base_path / "2"
        order = chance.sample(model.files, len(model.files))
        for _ in copy_in_pieces(model, copy, order, chance):
            whole = all(
                (copy / name).exists() and (copy / name).stat().st_size == (model.path / name).stat().st_size
                for name in model.files
            )
            if whole:
                break
            longest_stall = 5 if model.is_known_to_lack(copy) else 1
            for _ in range(chance.randint(0, longest_stall)):
                poller.look()
                assert target.loadable["m"] == {1}, f"copy {seed}, order {order}: loadable before its end"
        looks = 0
        while target.loadable["m"] != {2}:
            poller.look()
            looks += 1
            assert looks <= LOOKS_UNTIL_LOADABLE, f"copy {seed}, order {order}: not loadable after {looks} looks"


def test_many_copies_at_once_under_a_running_poller(saved_model: Model, onnx_model: Model, tmp_path: Path) -> None:
    # Between threads no stall is sure to be short, so the files that nobody can know about come first.
    target = Target()
    models = {f"m{number}": (saved_model, onnx_model)[number % 2] for number in range(8)}
    for name in models:
        (tmp_path / name).mkdir()
    poller = Poller(
        [WatchedModel(name, tmp_path / name, Latest()) for name in models],
        target,
        LocalStorage(),
        missing_parts,
        poll_wait_seconds=0.05,
        clock=FakeClock(time.time()),
    )
    faults: list[str] = []

    def copy_versions(name: str) -> None:
        chance = random.Random(name)
        model = models[name]
        unknown = model.size_unknown | model.unannounced
        for version in range(1, 4):
            known = [file for file in model.files if file not in unknown]
            order = [*sorted(unknown), *chance.sample(known, len(known))]
            steps = copy_in_pieces(model, tmp_path / name / str(version), order, chance)
            while model.is_known_to_lack(tmp_path / name / str(version)):
                # A copy that is slow at times: the stalls are what is tested.
                time.sleep(chance.choice((0.0, 0.0, 0.0, 0.02, 0.15)))
                if (name, version) in target.first_loadable:
                    faults.append(f"{name} {version} was loadable before its end, order {order}")
                next(steps)
            told = target.told.get(name, 0)
            steps.close()
            first = target.wait_until_loadable(name, version)
            # A look may have been under way when the last byte was written.
            if first > told + LOOKS_UNTIL_LOADABLE:
                faults.append(f"{name} {version} was loadable {first - told} looks after its end")

    copying = [threading.Thread(target=copy_versions, args=(name,)) for name in models]
    poller.start()
    try:
        for thread in copying:
            thread.start()
        for thread in copying:
            thread.join()
    finally:
        poller.stop()
    assert faults == []
    assert target.loadable == {name: {3} for name in models}

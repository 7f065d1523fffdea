from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from contracts.platform_contract import PlatformContract
from hotserve.core.servable import Servable, saved_model_tags
from hotserve.errors import Code, InvalidArgument, NotFound, ServingError
from hotserve.platforms.onnx import OnnxLoader
from hotserve.platforms.saved_model_config import CONFIG_FILE
from hotserve.platforms.tensorflow import TensorFlowLoader
from hotserve.platforms.warmup import warm_up
from hotserve.protos.messages import ConfigProto, RewriterConfig, SavedModelConfig
from hotserve.tensors import Array, DType, TensorSpec, dtype_of_array


class TestTensorFlow(PlatformContract):
    platform = "tensorflow"
    needed_files = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")

    @pytest.fixture
    def version_folder(self, many_signatures: Path) -> Path:
        return many_signatures

    @pytest.fixture
    def good_inputs(self) -> dict[str, Array]:
        return {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def loaded(many_signatures: Path) -> Iterator[Servable]:
    servable = TensorFlowLoader().load(many_signatures)
    yield servable
    servable.unload()


def strings(*texts: bytes) -> Array:
    return np.array(texts, dtype=object)


def test_signatures_are_those_of_the_model(loaded: Servable) -> None:
    signature = loaded.signatures["serving_default"]
    assert signature.inputs == {"x": TensorSpec(DType.FLOAT, (None, 3), "serving_default_x:0")}
    assert {alias: (spec.dtype, spec.shape) for alias, spec in signature.outputs.items()} == {
        "y": (DType.FLOAT, (None, 2))
    }
    assert not signature.enforces_shapes


@pytest.mark.parametrize("signature", ["serving_default", "compiled"])
def test_a_signature_computes(loaded: Servable, signature: str) -> None:
    y = loaded.run(signature, {"x": np.array([[1, 0, 0], [1, 1, 1]], np.float32)}, ["y"])["y"]
    assert y.tolist() == [[1.0, 2.0], [9.0, 12.0]]


VALUES: dict[str, Any] = {
    "float32": [np.nan, np.inf, -0.0, 1e-45, 3.4e38],
    "float64": [np.nan, -np.inf, 5e-324],
    "half": [65504.0, 6e-8, -1.0],
    "bfloat16": [1.0, -2.5, 3e38],
    "int8": [-128, 127],
    "int16": [-(1 << 15), (1 << 15) - 1],
    "int32": [-(1 << 31), (1 << 31) - 1],
    "int64": [-(1 << 63), (1 << 63) - 1],
    "uint8": [0, 255],
    "uint16": [0, (1 << 16) - 1],
    "uint32": [0, (1 << 32) - 1],
    "uint64": [0, (1 << 64) - 1],
    "bool": [True, False],
    "complex64": [1 + 2j, -1j],
    "complex128": [1 + 2j, -1j],
    "string": [b"", b"\xff\x00\xfe", *(bytes([65 + n % 26]) * n for n in range(60)), b"x" * 100_000],
}


@pytest.mark.parametrize("name", list(VALUES))
def test_every_type_goes_in_and_out_bit_by_bit(loaded: Servable, name: str) -> None:
    dtype = loaded.signatures[name].inputs["x"].dtype
    values = strings(*VALUES[name]) if name == "string" else np.array(VALUES[name], dtype.numpy)
    for x in (
        values,
        values.reshape(1, -1, 1),
        values[:1].reshape(()),
        values[:0],
        values[::-1],
        values[:0].reshape(0, 3),
    ):
        y = loaded.run(name, {"x": x}, ["y"])["y"]
        assert dtype_of_array(y) is dtype
        assert y.shape == x.shape
        if name == "string":
            assert y.tolist() == x.tolist()
        else:
            assert y.tobytes() == x.tobytes()


def test_strings_may_come_as_bytes_or_text_of_numpy_too(loaded: Servable) -> None:
    for x in (np.array([b"a", b"bcd"]), np.array(["a", "bcd"]), np.array(["a", "bcd"], dtype=object)):
        assert loaded.run("string", {"x": x}, ["y"])["y"].tolist() == [b"a", b"bcd"]
    assert loaded.run("string", {"x": np.array(["ö"])}, ["y"])["y"].tolist() == ["ö".encode()]


@pytest.mark.parametrize("make", [np.ascontiguousarray, np.asfortranarray, lambda x: x[::-1], lambda x: x.T])
def test_large_arrays_of_any_layout_go_in_and_out(loaded: Servable, make: Callable[[Array], Array]) -> None:
    x = make(np.random.default_rng(0).normal(size=(700, 800)).astype(np.float32))
    np.testing.assert_array_equal(loaded.run("float32", {"x": x}, ["y"])["y"], x)


def test_answers_do_not_change_under_their_holder(loaded: Servable) -> None:
    x = np.ones(3, np.float32)
    y = loaded.run("float32", {"x": x}, ["y"])["y"]
    x[:] = 5
    loaded.run("float32", {"x": x}, ["y"])
    assert y.tolist() == [1.0, 1.0, 1.0]


def test_strings_that_the_model_keeps_outlive_their_request(loaded: Servable) -> None:
    for length in (5, 500):
        texts = [b"%d " % n + b"t" * length for n in range(1_000)]
        loaded.run("remember", {"text": strings(*texts)}, ["was"])
        gc.collect()
        loaded.run("remember", {"text": strings(*texts)}, ["was"])
        assert loaded.run("recall", {}, ["text"])["text"].tolist() == texts


def test_signatures_without_inputs_run_and_zero_leaves_a_counter_alone(loaded: Servable) -> None:
    warm_up(loaded)
    assert loaded.run("get_count", {}, ["count"])["count"].tolist() == 0.0
    loaded.run("add_to_count", {"delta": np.float32(2.5).reshape(())}, ["count"])
    assert loaded.run("get_count", {}, ["count"])["count"].tolist() == 2.5


def test_the_init_op_is_in_the_metadata_and_cannot_be_called(loaded: Servable) -> None:
    signature = loaded.signatures["__saved_model_init_op"]
    assert not signature.inputs
    with pytest.raises(InvalidArgument, match="Signature __saved_model_init_op cannot be called: its output"):
        loaded.run("__saved_model_init_op", {}, list(signature.outputs))


def test_every_set_of_outputs_gives_those_in_the_order_asked_for(loaded: Servable) -> None:
    names = list(loaded.signatures["seven_outputs"].outputs)
    x = np.zeros(1, np.float32)
    sets = chain.from_iterable(combinations(names, size) for size in range(1, 8))
    for chosen in sets:
        asked = list(reversed(chosen))
        results = loaded.run("seven_outputs", {"x": x}, asked)
        assert [(name, value.tolist()) for name, value in results.items()] == [(n, [float(n[1:])]) for n in asked]


def test_two_outputs_may_be_one_tensor(loaded: Servable) -> None:
    results = loaded.run("twice_the_same", {"x": np.ones(1, np.float32)}, ["a", "b"])
    assert {name: value.tolist() for name, value in results.items()} == {"a": [2.0], "b": [2.0]}


def test_an_operation_that_refuses_is_an_invalid_argument_in_the_engines_words(loaded: Servable) -> None:
    with pytest.raises(InvalidArgument, match="ncompatible") as raised:
        loaded.run("serving_default", {"x": np.ones((1, 2), np.float32)}, ["y"])
    assert "Traceback" not in raised.value.message
    with pytest.raises(InvalidArgument, match="x must be positive"):
        loaded.run("positive", {"x": np.zeros(1, np.float32)}, ["x"])
    # The next request is none the worse for it.
    assert loaded.run("positive", {"x": np.ones(1, np.float32)}, ["x"])["x"].tolist() == [1.0]


def test_assets_are_found_where_the_version_is_now(with_assets: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(with_assets, tmp_path / "moved"))
    servable = TensorFlowLoader().load(folder)
    numbers = servable.run("serving_default", {"word": strings(b"zwei", b"drei")}, ["number"])["number"]
    assert numbers.tolist() == [2, -1]
    servable.unload()


def test_old_graphs_with_reference_variables_run(graph_model: Callable[..., Path]) -> None:
    def build(v1: Any) -> Any:
        variable = v1.get_variable("counter", initializer=0.0, use_resource=False)
        counter = v1.get_default_graph().get_tensor_by_name("counter:0")
        delta = v1.placeholder("float32", [], name="delta")
        return {
            "get": ({}, {"output": counter}),
            "add": ({"delta": delta}, {"output": v1.assign_add(variable, delta)}),
        }

    servable = TensorFlowLoader().load(graph_model(build))
    assert servable.signatures["get"].outputs["output"].dtype is DType.FLOAT
    first = servable.run("get", {}, ["output"])["output"]
    servable.run("add", {"delta": np.array(2.0, np.float32)}, ["output"])
    assert (first.tolist(), servable.run("get", {}, ["output"])["output"].tolist()) == (0.0, 2.0)


@pytest.fixture
def odd_signatures(graph_model: Callable[..., Path]) -> Servable:
    """Signatures that say something else than their graph can do."""

    def build(v1: Any) -> Any:
        x = v1.placeholder("float32", [None], name="x")
        y = v1.identity(x * 2.0, name="y")
        info = v1.saved_model.build_tensor_info(x)
        no_operation, no_output, other_type = (type(info).FromString(info.SerializeToString()) for _ in range(3))
        no_operation.name = "nowhere:0"
        no_output.name = "x:7"
        other_type.dtype = 7
        sparse = v1.sparse_placeholder("float32", [None, 3], name="sparse")
        return {
            "good": ({"x": x}, {"y": y}),
            "two_aliases": ({"a": x, "b": x}, {"y": y}),
            "sparse_input": ({"s": sparse}, {"y": y}),
            "no_operation": ({"x": x}, {"y": no_operation}),
            "no_output": ({"x": x}, {"y": no_output}),
            "other_type": ({"x": other_type}, {"y": y}),
        }

    return TensorFlowLoader().load(graph_model(build))


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("signature", "inputs", "reason"),
    [
        ("two_aliases", {"a": ONE, "b": ONE}, " fed more than once"),
        ("sparse_input", {"s": ONE}, "its input s is a sparse tensor, and only dense tensors can be sent"),
        ("no_operation", {"x": ONE}, "its output y is no tensor: the graph has no operation 'nowhere'"),
        ("no_output", {"x": ONE}, "its output y is no tensor: the operation 'x' has 1 outputs, no 'x:7'"),
        ("other_type", {"x": strings(b"a")}, r"Expects arg\[0\] to be float but string is provided"),
        ("good", {"x": np.ones(1, np.float64)}, r"Expects arg\[0\] to be float but double is provided"),
    ],
)
def test_a_signature_that_cannot_be_called_says_why_and_leaves_the_others_alone(
    odd_signatures: Servable, signature: str, inputs: dict[str, Array], reason: str
) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        odd_signatures.run(signature, inputs, ["y"])
    assert odd_signatures.run("good", {"x": ONE}, ["y"])["y"].tolist() == [2.0]


def test_a_model_with_a_signature_that_cannot_be_called_warms_up(odd_signatures: Servable) -> None:
    warm_up(odd_signatures)


def scale_and_shift(v1: Any) -> Any:
    x = v1.placeholder("float32", [None], name="x")
    return {"serving_default": ({"x": x}, {"y": x * 2.0})}


def test_the_tags_choose_the_meta_graph(graph_model: Callable[..., Path]) -> None:
    folder = graph_model(scale_and_shift, tags=("serve", "gpu"))
    servable = TensorFlowLoader(tags=("gpu", "serve")).load(folder)
    assert servable.run("serving_default", {"x": ONE}, ["y"])["y"].tolist() == [2.0]
    with pytest.raises(NotFound, match=r"Could not find meta graph def matching supplied tags: \{ serve \}") as raised:
        TensorFlowLoader().load(folder)
    assert raised.value.message.endswith(
        ". Tag sets in this SavedModel: { gpu, serve }. --saved_model_tags chooses one, such as"
        " --saved_model_tags=gpu,serve."
    )


def test_the_tags_of_a_text_graph_are_told_as_well(graph_model: Callable[..., Path]) -> None:
    folder = graph_model(scale_and_shift, tags=("train",), as_text=True)
    with pytest.raises(NotFound, match=r"Tag sets in this SavedModel: \{ train \}\. .*--saved_model_tags=train\.$"):
        TensorFlowLoader().load(folder)


def test_a_servable_tells_its_tags(loaded: Servable, multiply_onnx: Path) -> None:
    assert saved_model_tags(loaded) == ("serve",)
    onnx = OnnxLoader().load(multiply_onnx)
    assert saved_model_tags(onnx) == ()
    onnx.unload()


def test_options_of_the_session_reach_tensorflow(many_signatures: Path) -> None:
    config = ConfigProto(experimental=ConfigProto.Experimental(executor_type="none of these"))
    with pytest.raises(ServingError, match="none of these"):
        TensorFlowLoader(config=config).load(many_signatures)


def has_bfloat16() -> bool:
    cpu_info = Path("/proc/cpuinfo")
    return cpu_info.exists() and "avx512_bf16" in cpu_info.read_text()


@pytest.mark.skipif(not has_bfloat16(), reason="TensorFlow computes in bfloat16 only where the processor can")
def test_mixed_precision_computes_in_bfloat16(large_saved_model: Path) -> None:
    x = np.ones((32, 512), np.float32)
    config = ConfigProto()
    config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    answers = []
    for asked in (ConfigProto(), config):
        servable = TensorFlowLoader(config=asked).load(large_saved_model)
        answers.append(servable.run("serving_default", {"x": x}, ["y"])["y"])
        servable.unload()
    exact, rounded = answers
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded / np.abs(exact).max(), exact / np.abs(exact).max(), atol=0.05)


def test_a_version_with_a_config_of_its_own_loads(many_signatures: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(many_signatures, tmp_path / "1"))
    (folder / CONFIG_FILE).parent.mkdir()
    asked = SavedModelConfig()
    asked.session_overrides.disable_meta_optimizer = True
    (folder / CONFIG_FILE).write_bytes(asked.SerializeToString())
    servable = TensorFlowLoader().load(folder)
    assert servable.run("serving_default", {"x": np.eye(3, dtype=np.float32)}, ["y"])["y"].tolist()[0] == [1.0, 2.0]
    servable.unload()


def test_graphs_in_text_load(graph_model: Callable[..., Path]) -> None:
    servable = TensorFlowLoader().load(graph_model(scale_and_shift, as_text=True))
    assert servable.run("serving_default", {"x": ONE}, ["y"])["y"].tolist() == [2.0]


@pytest.mark.parametrize("threads", [(1, 1), (2, 2), (0, 0), (0, -1)])
def test_the_answer_does_not_depend_on_the_number_of_threads(many_signatures: Path, threads: tuple[int, int]) -> None:
    intra, inter = threads
    config = ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
    servable = TensorFlowLoader(config=config).load(many_signatures)
    y = servable.run("serving_default", {"x": np.eye(3, dtype=np.float32)}, ["y"])["y"]
    assert y.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    servable.unload()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="Could not find SavedModel"):
        TensorFlowLoader().load(tmp_path / "gone")


def test_a_checkpoint_with_damaged_values_is_data_loss(many_signatures: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(many_signatures, tmp_path / "1"))
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(bytes(data.stat().st_size))
    with pytest.raises(ServingError) as raised:
        TensorFlowLoader().load(folder)
    assert raised.value.code is Code.DATA_LOSS


def test_a_folder_whose_name_is_not_ascii_loads(many_signatures: Path, tmp_path: Path) -> None:
    servable = TensorFlowLoader().load(Path(shutil.copytree(many_signatures, tmp_path / "größe 1")))
    assert "serving_default" in servable.signatures


def test_values_of_bfloat16_keep_their_type(loaded: Servable) -> None:
    y = loaded.run("bfloat16", {"x": np.array([1.5], ml_dtypes.bfloat16)}, ["y"])["y"]
    assert y.dtype == ml_dtypes.bfloat16


def test_the_rank_that_is_declared_binds_in_a_graph_with_convolutions(tf: Any, tmp_path: Path) -> None:
    class Convolution(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32)])
        def __call__(self, image: Any) -> dict[str, Any]:
            return {"convolved": tf.nn.conv2d(image, tf.ones([3, 3, 1, 2]), 1, "SAME")}

    module = Convolution()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.__call__)
    servable = TensorFlowLoader().load(tmp_path / "1")
    try:
        # oneDNN would end this process here, and the server of whoever is sent such a request.
        with pytest.raises(InvalidArgument, match="Input image has 3 dimensions, where the signature declares 4"):
            servable.run("serving_default", {"image": np.zeros((8, 8, 1), np.float32)}, ["convolved"])
        larger = servable.run("serving_default", {"image": np.zeros((2, 5, 5, 1), np.float32)}, ["convolved"])
        assert larger["convolved"].shape == (2, 5, 5, 2)
    finally:
        servable.unload()


LOAD_IN_THE_BACKGROUND = """
import os, pathlib, sys, threading
from hotserve.background import NICENESS, BackgroundThreads
from hotserve.platforms.tensorflow import TensorFlowLoader

own = os.getpriority(os.PRIO_PROCESS, 0)
before = set(os.listdir("/proc/self/task"))
done = threading.Event()

def load():
    before.add(str(threading.get_native_id()))
    servable = TensorFlowLoader().load(pathlib.Path(sys.argv[1]))
    print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) - own)
    new = [task for task in os.listdir("/proc/self/task") if task not in before]
    print(len(new), {os.getpriority(os.PRIO_PROCESS, int(task)) - own for task in new})
    servable.unload()
    done.set()

threads = BackgroundThreads(1, "test-load")
threads.submit(load)
done.wait(60)
threads.shutdown()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no priorities of single threads")
def test_a_load_in_the_background_gives_way_and_the_threads_that_sessions_share_do_not(many_signatures: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOAD_IN_THE_BACKGROUND, str(many_signatures)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    niceness, threads = ended.stdout.splitlines()
    assert int(niceness) > 0
    count, differences = threads.split(maxsplit=1)
    assert int(count) > 0
    assert differences == "{0}"


def test_sessions_with_threads_of_their_own_can_be_asked_for(many_signatures: Path) -> None:
    servable = TensorFlowLoader(config=ConfigProto(use_per_session_threads=True)).load(many_signatures)
    assert servable.run("serving_default", {"x": np.ones((1, 3), np.float32)}, ["y"])["y"].tolist() == [[9.0, 12.0]]
    servable.unload()

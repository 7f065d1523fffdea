from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts.platform_contract import PlatformContract
from hotserve.background import NICENESS, BackgroundThreads
from hotserve.core.servable import Servable
from hotserve.errors import Internal, InvalidArgument, ServingError, Unimplemented
from hotserve.platforms.onnx import OnnxLoader
from hotserve.platforms.warmup import warm_up
from hotserve.tensors import Array, DType, TensorSpec
from support.server_process import wait_until
from support.versioned_models import onnx_version

Folder = Callable[..., Path]

X_3 = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
Y_2 = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
IDENTITY = helper.make_node("Identity", ["x"], ["y"])


class TestOnnx(PlatformContract):
    platform = "onnx"
    needed_files = ("model.onnx", "weights.bin")

    @pytest.fixture
    def version_folder(self, onnx_folder: Folder) -> Path:
        weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
        weights.external_data.add(key="location", value="weights.bin")
        folder = onnx_folder([helper.make_node("MatMul", ["x", "w"], ["y"])], [X_3], [Y_2], [weights])
        (folder / "weights.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
        return folder

    @pytest.fixture
    def good_inputs(self) -> dict[str, Array]:
        return {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


def load(folder: Path, **options: Any) -> Servable:
    return OnnxLoader(**options).load(folder)


def run(servable: Servable, **inputs: Array) -> dict[str, Array]:
    return servable.run("serving_default", inputs, list(servable.signatures["serving_default"].outputs))


def identity(onnx_folder: Folder, data_type: int, shape: list[Any] | None) -> Servable:
    infos = [helper.make_tensor_value_info(name, data_type, shape) for name in "xy"]
    return load(onnx_folder([IDENTITY], infos[:1], infos[1:]))


def strings(*texts: bytes) -> Array:
    return np.array(texts, dtype=object)


def test_inputs_and_outputs_of_the_graph_are_the_one_signature(multiply_onnx: Path) -> None:
    servable = load(multiply_onnx)
    assert list(servable.signatures) == ["serving_default"]
    signature = servable.signatures["serving_default"]
    assert signature.inputs == {"x": TensorSpec(DType.FLOAT, (None, 3), "x")}
    assert signature.outputs == {"y": TensorSpec(DType.FLOAT, (None, 2), "y")}
    assert signature.enforces_shapes
    assert run(servable, x=np.eye(3, dtype=np.float32))["y"].tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([], ()),
        (None, None),
        (["n", 2, None, -1], (None, 2, None, None)),
        ([0, 4], (0, 4)),
    ],
)
def test_shapes_are_read_as_declared(onnx_folder: Folder, declared: list[Any] | None, expected: object) -> None:
    signature = identity(onnx_folder, TensorProto.FLOAT, declared).signatures["serving_default"]
    assert signature.inputs["x"].shape == expected
    assert signature.outputs["y"].shape == expected


@pytest.mark.parametrize("ir_version", [3, 9])
def test_initializers_that_are_inputs_as_well_need_not_be_sent(onnx_folder: Folder, ir_version: int) -> None:
    bias = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "bias")
    inputs = [X_3, helper.make_tensor_value_info("bias", TensorProto.FLOAT, [3])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    servable = load(
        onnx_folder([helper.make_node("Add", ["x", "bias"], ["y"])], inputs, [output], [bias], ir_version=ir_version)
    )
    assert list(servable.signatures["serving_default"].inputs) == ["x"]
    assert run(servable, x=np.zeros((1, 3), np.float32))["y"].tolist() == [[1.0, 2.0, 3.0]]


VALUES: dict[int, tuple[DType, Any]] = {
    TensorProto.FLOAT: (DType.FLOAT, [np.nan, -np.inf, 1e-45]),
    TensorProto.DOUBLE: (DType.DOUBLE, [np.nan, 5e-324]),
    TensorProto.FLOAT16: (DType.HALF, [65504.0, -1.0]),
    TensorProto.BFLOAT16: (DType.BFLOAT16, [1.5, -3e38]),
    TensorProto.FLOAT8E4M3FN: (DType.FLOAT8_E4M3FN, [1.5, 448.0]),
    TensorProto.FLOAT8E5M2: (DType.FLOAT8_E5M2, [1.5, -2.0]),
    TensorProto.INT8: (DType.INT8, [-128, 127]),
    TensorProto.INT16: (DType.INT16, [-(1 << 15)]),
    TensorProto.INT32: (DType.INT32, [-(1 << 31)]),
    TensorProto.INT64: (DType.INT64, [-(1 << 63)]),
    TensorProto.UINT8: (DType.UINT8, [255]),
    TensorProto.UINT16: (DType.UINT16, [(1 << 16) - 1]),
    TensorProto.UINT32: (DType.UINT32, [(1 << 32) - 1]),
    TensorProto.UINT64: (DType.UINT64, [(1 << 64) - 1]),
    TensorProto.BOOL: (DType.BOOL, [True, False]),
}


@pytest.mark.parametrize("data_type", list(VALUES))
def test_every_type_goes_in_and_out_bit_by_bit(onnx_folder: Folder, data_type: int) -> None:
    dtype, values = VALUES[data_type]
    servable = identity(onnx_folder, data_type, None)
    assert servable.signatures["serving_default"].inputs["x"].dtype is dtype
    plain = np.array(values * 2, dtype.numpy)
    for x in (plain, plain.reshape(2, -1), plain.reshape(2, -1).T, plain[::2], plain[:1].reshape(())):
        y = run(servable, x=x)["y"]
        assert (y.dtype, y.shape) == (dtype.numpy, x.shape)
        assert y.tobytes() == x.tobytes()


def test_types_without_a_numpy_form_work_beside_others(onnx_folder: Folder) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["n"]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"]),
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
        helper.make_node("Identity", ["x"], ["z"]),
    ]
    servable = load(onnx_folder(nodes, inputs, outputs))
    x = np.array([1.0, 2.5], np.float32)
    x.flags.writeable = False
    results = run(servable, x=x)
    assert results["y"].dtype == ml_dtypes.bfloat16
    assert results["y"].tolist() == results["z"].tolist() == [1.0, 2.5]


def test_strings_go_in_and_out(onnx_folder: Folder) -> None:
    servable = identity(onnx_folder, TensorProto.STRING, None)
    texts = [b"", b"a\x00b", "größe".encode(), b"x" * 10_000]
    for x in (strings(*texts), strings(*texts).reshape(2, 2), strings(b"one").reshape(())):
        y = run(servable, x=x)["y"]
        assert y.dtype == object
        assert y.tolist() == x.tolist()
    for x in (np.array([b"a", b"bcd"]), np.array(["a", "bcd"]), np.array(["a", "bcd"], dtype=object)):
        assert run(servable, x=x)["y"].tolist() == [b"a", b"bcd"]


def test_strings_that_are_not_utf_8_are_refused(onnx_folder: Folder) -> None:
    servable = identity(onnx_folder, TensorProto.STRING, ["n"])
    with pytest.raises(InvalidArgument, match=r"Element 1 of input x is not UTF-8 \(invalid start byte at byte 2\)"):
        run(servable, x=strings(b"good", b"ba\xff"))


def test_an_answer_that_is_not_utf_8_is_an_error_and_no_crash(onnx_folder: Folder) -> None:
    constant = TensorProto(name="c", data_type=TensorProto.STRING, dims=[1], string_data=[b"\xff"])
    inputs = [helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.STRING, ["m"])]
    servable = load(onnx_folder([helper.make_node("Concat", ["x", "c"], ["y"], axis=0)], inputs, outputs, [constant]))
    with pytest.raises(Internal, match="string that is not UTF-8"):
        run(servable, x=strings(b"a"))


def test_outputs_that_are_no_tensors_stay_out(onnx_folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["sequence"]),
        helper.make_node("Identity", ["x"], ["label"]),
    ]
    sequence = helper.make_tensor_sequence_value_info("sequence", TensorProto.FLOAT, None)
    label = helper.make_tensor_value_info("label", TensorProto.FLOAT, ["n", 3])
    servable = load(onnx_folder(nodes, [X_3], [sequence, label]))
    assert list(servable.signatures["serving_default"].outputs) == ["label"]
    assert "sequence (seq(tensor(float)))" in caplog.text
    assert run(servable, x=np.zeros((1, 3), np.float32))["label"].tolist() == [[0.0, 0.0, 0.0]]


def test_a_model_without_any_tensor_to_answer_with_is_refused(onnx_folder: Folder) -> None:
    sequence = helper.make_tensor_sequence_value_info("sequence", TensorProto.FLOAT, None)
    folder = onnx_folder([helper.make_node("SequenceConstruct", ["x", "x"], ["sequence"])], [X_3], [sequence])
    with pytest.raises(Unimplemented, match=r"No output .* sequence \(seq\(tensor\(float\)\)\)\. .*zipmap=False"):
        load(folder)


def test_an_input_that_is_no_tensor_is_refused(onnx_folder: Folder) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    length = helper.make_tensor_value_info("y", TensorProto.INT64, [])
    folder = onnx_folder([helper.make_node("SequenceLength", ["s"], ["y"])], [sequence], [length])
    with pytest.raises(Unimplemented, match=r"Input s is of type seq\(tensor\(float\)\)\. Expected tensors"):
        load(folder)


def test_what_a_node_refuses_is_an_invalid_argument_without_the_engines_noise(onnx_folder: Folder) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m"])
    w = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    servable = load(onnx_folder([helper.make_node("MatMul", ["x", "w"], ["y"], name="multiply")], [x], [Y_2], [w]))
    with pytest.raises(InvalidArgument) as raised:
        run(servable, x=np.ones((1, 4), np.float32))
    assert raised.value.message == "The model's MatMul node multiply fails: Compute MatMul dimension mismatch"
    assert run(servable, x=np.ones((1, 3), np.float32))["y"].tolist() == [[3.0, 3.0]]


def test_a_shape_that_the_engine_refuses_is_an_invalid_argument(multiply_onnx: Path) -> None:
    with pytest.raises(InvalidArgument, match="Got: 4 Expected: 3"):
        run(load(multiply_onnx), x=np.ones((1, 4), np.float32))


def test_an_index_out_of_range_is_an_invalid_argument(onnx_folder: Folder) -> None:
    table = numpy_helper.from_array(np.ones((3, 2), np.float32), "table")
    index = helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])
    servable = load(onnx_folder([helper.make_node("Gather", ["table", "i"], ["y"])], [index], [Y_2], [table]))
    with pytest.raises(InvalidArgument, match=r"The model's Gather node fails: .*out of data bounds"):
        run(servable, i=np.array([7]))


@pytest.fixture
def recurrent(onnx_folder: Folder) -> Path:
    """A model with an LSTM, which ends the process on an empty batch."""
    random = np.random.default_rng(0)
    initializers = [
        numpy_helper.from_array(random.normal(size=(1, 12, size)).astype(np.float32), name)
        for name, size in (("w", 4), ("r", 3))
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["time", 1, "n", 3])
    return onnx_folder([helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)], [x], [y], initializers)


def test_an_empty_input_is_refused_before_the_engine_sees_it(recurrent: Path) -> None:
    servable = load(recurrent)
    with pytest.raises(InvalidArgument, match=r"Input x is empty: it has the shape \[2, 0, 4\]"):
        run(servable, x=np.zeros((2, 0, 4), np.float32))
    assert run(servable, x=np.zeros((2, 1, 4), np.float32))["y"].shape == (2, 1, 1, 3)


def test_empty_inputs_run_where_that_is_asked_for(multiply_onnx: Path) -> None:
    servable = load(multiply_onnx, allow_empty_inputs=True)
    assert run(servable, x=np.zeros((0, 3), np.float32))["y"].shape == (0, 2)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_the_answer_does_not_depend_on_the_number_of_threads(large_onnx_model: Path, threads: int) -> None:
    x = np.ones((3, 512), np.float32) / 512
    expected = run(load(large_onnx_model), x=x)["y"]
    np.testing.assert_allclose(run(load(large_onnx_model, intra_op_threads=threads), x=x)["y"], expected, rtol=1e-4)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_nor_on_the_number_of_operations_at_a_time(large_onnx_model: Path, threads: int) -> None:
    x = np.ones((3, 512), np.float32) / 512
    expected = run(load(large_onnx_model), x=x)["y"]
    np.testing.assert_allclose(run(load(large_onnx_model, inter_op_threads=threads), x=x)["y"], expected, rtol=1e-4)


def test_data_outside_the_folder_is_refused(onnx_folder: Folder) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="../weights.bin")
    folder = onnx_folder([helper.make_node("MatMul", ["x", "w"], ["y"])], [X_3], [Y_2], [weights])
    (folder.parent / "weights.bin").write_bytes(bytes(24))
    with pytest.raises(InvalidArgument, match=r"wants the file '\.\./weights\.bin', which is outside the version's"):
        load(folder)


def test_several_files_without_a_preferred_one_are_refused(multiply_onnx: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        (multiply_onnx / name).write_bytes((multiply_onnx / "model.onnx").read_bytes())
    load(multiply_onnx).unload()
    (multiply_onnx / "model.onnx").unlink()
    with pytest.raises(InvalidArgument, match=r"exactly one other \*\.onnx file; found a\.onnx, b\.onnx\."):
        load(multiply_onnx)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="found none"):
        load(tmp_path)


def test_an_unknown_operation_fails_the_load_in_clean_words(onnx_folder: Folder) -> None:
    folder = onnx_folder([helper.make_node("NoSuchOperation", ["x"], ["y"])], [X_3], [Y_2])
    with pytest.raises(ServingError, match=r"ONNX Runtime refuses model\.onnx: .*NoSuchOperation") as raised:
        load(folder)
    assert "ONNXRuntimeError" not in raised.value.message


def test_a_file_that_changes_its_mind_about_its_type_is_refused(onnx_folder: Folder) -> None:
    folder = onnx_folder([IDENTITY], [X_3], [helper.make_tensor_value_info("y", TensorProto.INT64, ["n", 3])])
    with pytest.raises(ServingError, match=r"ONNX Runtime refuses model\.onnx: "):
        load(folder)


def test_a_model_warms_up_and_keeps_a_refusal_of_made_up_values_to_the_log(onnx_folder: Folder) -> None:
    # A row of one does not divide into rows of 7.
    shape = numpy_helper.from_array(np.array([-1, 7]), "shape")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 7])
    servable = load(onnx_folder([helper.make_node("Reshape", ["x", "shape"], ["y"])], [x], [y], [shape]))
    warm_up(servable)
    assert run(servable, x=np.zeros(14, np.float32))["y"].shape == (2, 7)


def test_an_unloaded_version_says_so(multiply_onnx: Path) -> None:
    servable = load(multiply_onnx)
    servable.unload()
    with pytest.raises(ServingError, match="unloaded"):
        run(servable, x=np.zeros((1, 3), np.float32))


def test_models_of_newer_onnx_than_the_engine_fail_in_words(multiply_onnx: Path) -> None:
    model = onnx.load(str(multiply_onnx / "model.onnx"))
    model.ir_version = 1000
    (multiply_onnx / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ServingError, match=r"ONNX Runtime refuses model\.onnx: .*IR version"):
        load(multiply_onnx)


def test_onnx_runtime_does_not_report_to_its_maker() -> None:
    # In a process of its own, without the variable that the tests set: importing the platform sets it in time.
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    program = (
        "import os, sys, hotserve\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "import hotserve.platforms.onnx\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no priorities of single threads")
def test_a_load_in_the_background_gives_way_and_the_threads_of_its_session_do_not(tmp_path: Path) -> None:
    onnx_version(tmp_path / "1", 1, ballast_bytes=9 << 20)  # large enough for threads of its own
    own = os.getpriority(os.PRIO_PROCESS, 0)
    loaded: list[Servable] = []
    seen: dict[str, int] = {}
    done = threading.Event()

    def load() -> None:
        mine = str(threading.get_native_id())
        before = {*os.listdir("/proc/self/task")} - {mine}
        loaded.append(OnnxLoader(intra_op_threads=3).load(tmp_path / "1"))
        # Another thread of ours puts this one behind, and then ends.
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, int(mine)) != own)
        wait_until(lambda: len(set(os.listdir("/proc/self/task")) - before) <= 3)
        for thread in set(os.listdir("/proc/self/task")) - before:
            seen[thread] = os.getpriority(os.PRIO_PROCESS, int(thread))
        done.set()

    threads = BackgroundThreads(1, "test-load")
    threads.submit(load)
    assert done.wait(150)
    threads.shutdown()
    assert sorted(seen.values()) == [own, own, min(19, own + NICENESS)]
    loaded[0].unload()

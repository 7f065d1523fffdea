from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from contracts.platform_contract import PlatformContract
from hotserve.core.servable import Servable
from hotserve.errors import Internal, InvalidArgument, ServingError, Unimplemented
from hotserve.platforms.litert import InterpreterPool, LiteRtLoader
from hotserve.platforms.warmup import warm_up
from hotserve.protos.messages import SignatureDef
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType
from support.litert_models import (
    CONV_2D,
    CUSTOM,
    RESIZE_NEAREST_NEIGHBOR,
    WHERE,
    FileSignature,
    Graph,
    Tensor,
    adder,
    litert_model,
    picker,
    write_model,
)

Load = Callable[..., Servable]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def make(content: bytes, **options: int) -> Servable:
        return LiteRtLoader(**options).load(write_model(tmp_path, content))

    return make


def run(servable: Servable, signature: str = DEFAULT_SIGNATURE, /, **inputs: Any) -> dict[str, Array]:
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    return servable.run(signature, arrays, list(servable.signatures[signature].outputs))


def strings(*values: bytes) -> Array:
    return np.array(values, dtype=object)


def convolution(shape: tuple[int | None, ...]) -> Graph:
    """3 x 3 ones over a picture of one channel, without padding."""
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    tensors = [
        Tensor("image", shape),
        Tensor("weights", (1, 3, 3, 1), value=np.ones((1, 3, 3, 1), np.float32)),
        Tensor("bias", (1,), value=np.zeros(1, np.float32)),
        Tensor("y", (shape[0], None, None, 1)),
    ]
    return Graph(tensors, [0], [3], [(CONV_2D, [0, 1, 2], [3])], {0: (schema.BuiltinOptions.Conv2DOptions, options)})


def enlargement() -> Graph:
    """A picture in 4 x 4, whose operation ends the process where the picture is empty."""
    tensors = [
        Tensor("image", (None, None, None, 1)),
        Tensor("size", (2,), "int32", np.array([4, 4], np.int32)),
        Tensor("y", (None, 4, 4, 1)),
    ]
    options = schema.ResizeNearestNeighborOptionsT()
    kind = schema.BuiltinOptions.ResizeNearestNeighborOptions
    return Graph(tensors, [0], [2], [(RESIZE_NEAREST_NEIGHBOR, [0, 1], [2])], {0: (kind, options)})


def finder() -> Graph:
    """The places of a list where it is true."""
    return Graph([Tensor("x", (None,), "bool"), Tensor("places", (None, 1), "int64")], [0], [1], [(WHERE, [0], [1])])


class TestContract(PlatformContract):
    platform = "litert"
    needed_files = ("model.tflite",)

    @pytest.fixture
    def version_folder(self, tmp_path: Path) -> Path:
        signature = FileSignature("serving_default", 0, {"words": 0, "places": 1}, {"picked": 2})
        return write_model(tmp_path / "whole", litert_model([picker()], [signature]))

    @pytest.fixture
    def good_inputs(self) -> dict[str, Array]:
        return {"words": strings(b"eins", b"zwei", b"\xff\x00"), "places": np.array([2, 0, 0, 1], np.int32)}


class TestContractOfOtherGraphs(TestContract):
    """The same for a default signature that does not run the main graph."""

    @pytest.fixture
    def version_folder(self, tmp_path: Path) -> Path:
        signatures = [
            FileSignature("add", 0, {"x": 0}, {"y": 2}),
            FileSignature("serving_default", 1, {"words": 0, "places": 1}, {"picked": 2}),
        ]
        return write_model(tmp_path / "whole", litert_model([adder(1.0), picker()], signatures))


# Signatures.


def test_the_signatures_of_the_file_are_served_under_its_aliases(load: Load) -> None:
    servable = load(
        litert_model(
            [adder(2.0, (None,)), picker()],
            [
                FileSignature("add", 0, {"number": 0}, {"more": 2}),
                FileSignature("pick", 1, {"w": 0, "p": 1}, {"picked": 2}),
            ],
        )
    )
    assert set(servable.signatures) == {"add", "pick"}
    assert servable.signatures["pick"].describe_inputs() == "p: int32 [?], w: string [?]"
    assert run(servable, "add", number=np.float32([1, 2]))["more"].tolist() == [3.0, 4.0]
    assert run(servable, "pick", w=strings(b"a", b"b"), p=np.int32([1]))["picked"].tolist() == [b"b"]
    # And the main graph takes another shape after the other graph has run.
    assert run(servable, "add", number=np.float32([1, 2, 3]))["more"].tolist() == [3.0, 4.0, 5.0]


def test_a_file_without_signatures_has_one_of_all_inputs_and_outputs_with_names_cut_at_the_colon(load: Load) -> None:
    servable = load(litert_model([adder(2.0)]))
    signature = servable.signatures[DEFAULT_SIGNATURE]
    assert list(servable.signatures) == [DEFAULT_SIGNATURE]
    assert str(signature.inputs["x"]) == "float [?,32]"
    assert signature.inputs["x"].tensor_name == "x:0"
    assert list(signature.outputs) == ["y"]
    assert signature.method_name == "tensorflow/serving/predict"


def metadata(input_name: str, output_name: str) -> dict[str, bytes]:
    definition = SignatureDef(method_name="tensorflow/serving/regress")
    definition.inputs["inputs"].name = input_name
    definition.outputs["outputs"].name = output_name
    return {"serving_default": definition.SerializeToString()}


@pytest.mark.parametrize("suffix", ["", ":0"])
def test_signatures_in_the_metadata_of_older_files_are_served(load: Load, suffix: str) -> None:
    tensors = [Tensor("x", (None,)), Tensor("c", (), value=np.float32(2)), Tensor("y", (None,))]
    graph = Graph(tensors, [0], [2], adder(0.0).operators)
    servable = load(litert_model([graph], metadata=metadata(f"x{suffix}", f"y{suffix}")))
    assert servable.signatures[DEFAULT_SIGNATURE].method_name == "tensorflow/serving/regress"
    assert run(servable, inputs=np.float32([1]))["outputs"].tolist() == [3.0]


def test_metadata_that_names_no_tensor_is_refused_in_the_words_of_the_original(load: Load) -> None:
    with pytest.raises(Internal, match=r"Signature output outputs references an unknown tensor: Unknown tensor 'z:0'"):
        load(litert_model([adder(2.0)], metadata=metadata("x:0", "z:0")))


@pytest.mark.parametrize("damaged", [b"\0", b"\1\2\3", b"\xff" * 40, b"\x24\x24\x24"])
def test_metadata_that_cannot_be_read_is_refused(load: Load, damaged: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"Invalid SignatureDefs found in TfLite model: "):
        load(litert_model([adder(2.0)], metadata=damaged))


def test_a_signature_of_tensors_that_its_graph_does_not_have_is_refused(load: Load) -> None:
    with pytest.raises(Internal, match=r"Signature input x references an unknown tensor"):
        load(litert_model([adder(2.0)], [FileSignature("s", 0, {"x": 9}, {"y": 2})]))
    with pytest.raises(InvalidArgument, match=r"runs subgraph 3, and model\.tflite has 1"):
        load(litert_model([adder(2.0)], [FileSignature("s", 3, {"x": 0}, {"y": 2})]))
    with pytest.raises(InvalidArgument, match="Signature s leaves inputs of its graph without a value: places"):
        load(litert_model([picker()], [FileSignature("s", 0, {"w": 0}, {"picked": 2})]))


def test_types_that_cannot_be_sent_are_refused(load: Load) -> None:
    graph = Graph([Tensor("x", (), "resource"), Tensor("y", ())], [0], [1], [])
    with pytest.raises(Unimplemented, match="x of signature serving_default is of type resource"):
        load(litert_model([graph]))


# What LiteRT's own converter writes.


@pytest.fixture(scope="module")
def converted(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with two signatures, and the same as LiteRT model in its folder."""
    folder = tmp_path_factory.mktemp("converted") / "1"

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def multiply(self, x: Any) -> Any:
            return {"y": tf.nn.relu(x @ self.weights)}

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.int32, name="a"), tf.TensorSpec([None], tf.int32, name="b")]
        )
        def calculate(self, a: Any, b: Any) -> Any:
            return {"sum": a + b, "difference": a - b}

    model = Model()
    signatures = {"serving_default": model.multiply, "calculate": model.calculate}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=list(signatures))
    return write_model(folder, converter.convert())


def test_a_converted_model_answers_as_the_saved_model_does(tf: Any, converted: Path) -> None:
    servable = LiteRtLoader().load(converted)
    original = tf.saved_model.load(str(converted)).signatures
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(run(servable, x=x)["y"], original["serving_default"](x=tf.constant(x))["y"], rtol=1e-6)
    answer = run(servable, "calculate", a=np.int32([1, 2]), b=np.int32([5, 7]))
    assert {name: values.tolist() for name, values in answer.items()} == {"sum": [6, 9], "difference": [-4, -5]}


def test_a_quantised_model_takes_and_gives_its_integers_as_they_are(tf: Any, load: Load) -> None:
    weights = tf.constant(np.eye(4, dtype=np.float32))
    function = tf.function(lambda x: {"y": x @ weights}, input_signature=[tf.TensorSpec([None, 4], name="x")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.float32([[-1, 1, 0.5, 0]])] for _ in range(4))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    servable = load(converter.convert())
    signature = servable.signatures[DEFAULT_SIGNATURE]
    assert (str(signature.inputs["x"]), str(signature.outputs["y"])) == ("int8 [?,4]", "int8 [?,4]")
    x = np.int8([[-128, 127, 0, 5], [1, 2, 3, 4]])
    answer = run(servable, x=x)["y"]
    assert answer.dtype == np.int8
    assert np.abs(answer.astype(int) - x).max() <= 1


# Shapes.


def test_the_batch_may_have_any_size_even_where_the_file_says_one(load: Load) -> None:
    servable = load(litert_model([convolution((1, 5, 5, 1))]))
    for batch in (1, 3, 2, 2, 1):
        answer = run(servable, image=np.ones((batch, 5, 5, 1), np.float32))["y"]
        assert answer.shape == (batch, 3, 3, 1)
        assert set(answer.ravel().tolist()) == {9.0}


@pytest.mark.parametrize("shape", [(5, 5, 1), (1, 5, 5), (1, 5, 6, 1), (1, 5, 5, 2), (), (1, 1, 5, 5, 1)])
def test_any_other_size_and_rank_binds(load: Load, shape: tuple[int, ...]) -> None:
    servable = load(litert_model([convolution((1, 5, 5, 1))]))
    with pytest.raises(InvalidArgument, match=r"Input image has the wrong shape: expected float \[1,5,5,1\]"):
        run(servable, image=np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (1, 2, 3)])
def test_a_graph_that_works_element_by_element_takes_any_shape(load: Load, shape: tuple[int, ...]) -> None:
    # TensorFlow Serving's own half_plus_two declares [1,1], and its users send lists of numbers.
    servable = load(litert_model([adder(2.0, (1, 1))]))
    assert run(servable, x=np.ones(shape, np.float32))["y"].tolist() == np.full(shape, 3.0).tolist()


def test_a_model_whose_least_shapes_do_not_work_is_loaded_and_runs_with_others(load: Load) -> None:
    servable = load(litert_model([convolution((None, None, None, 1))]))
    warm_up(servable)
    with pytest.raises(InvalidArgument, match=r"Failed to allocate tensors: "):
        run(servable, image=np.ones((1, 1, 1, 1), np.float32))
    assert run(servable, image=np.ones((2, 4, 4, 1), np.float32))["y"].shape == (2, 2, 2, 1)


def test_shapes_that_do_not_go_together_are_refused_and_the_next_run_is_right(load: Load) -> None:
    tensors = [Tensor(name, (None,), "int32") for name in "aby"]
    servable = load(litert_model([Graph(tensors, [0, 1], [2], [(0, [0, 1], [2])])]))
    for _ in range(3):
        with pytest.raises(
            InvalidArgument, match=r"Failed to allocate tensors: Given shapes, \[3\] and \[2\], are not"
        ):
            run(servable, a=np.ones(3, np.int32), b=np.ones(2, np.int32))
        assert run(servable, a=np.ones(3, np.int32), b=np.ones(3, np.int32))["y"].tolist() == [2.0, 2.0, 2.0]


def test_empty_inputs_are_refused_since_some_operations_end_the_process_on_them(load: Load) -> None:
    servable = load(litert_model([enlargement()]))
    with pytest.raises(InvalidArgument, match=r"Input image is empty: it has the shape \[1, 0, 5, 1\]"):
        run(servable, image=np.ones((1, 0, 5, 1), np.float32))
    assert run(servable, image=np.ones((1, 2, 5, 1), np.float32))["y"].shape == (1, 4, 4, 1)


def test_an_empty_output_is_an_empty_array_of_its_shape(load: Load) -> None:
    servable = load(
        litert_model(
            [finder(), finder()],
            [FileSignature("first", 0, {"x": 0}, {"at": 1}), FileSignature("second", 1, {"x": 0}, {"at": 1})],
        )
    )
    for signature in ("first", "second"):
        assert run(servable, signature, x=np.array([False, True]))["at"].tolist() == [[1]]
        nothing = run(servable, signature, x=np.array([False, False]))["at"]
        assert (nothing.shape, nothing.dtype) == ((0, 1), np.int64)


def test_a_value_that_an_operation_refuses_is_an_invalid_argument_without_the_engines_source_lines(load: Load) -> None:
    servable = load(litert_model([picker()]))
    with pytest.raises(InvalidArgument) as raised:
        run(servable, words=strings(b"a"), places=np.int32([5]))
    assert raised.value.message.startswith("Failed to invoke TfLite interpreter: ")
    assert "Node number 0 (GATHER) failed to invoke" in raised.value.message
    assert ".cc" not in raised.value.message


def test_a_type_that_does_not_fit_never_reaches_the_interpreter(load: Load) -> None:
    servable = load(litert_model([adder(2.0)]))
    for wrong in (np.ones((1, 32)), np.ones((1, 32), np.int32), np.full((1, 32), b"a", object)):
        with pytest.raises(InvalidArgument, match=r"Input x is float, and (double|int32|string) came"):
            run(servable, x=wrong)


def fuzzed(source: random.Random, shape: tuple[int | None, ...] | None, dtype: DType) -> Array:
    """An array that may fit, and mostly does not."""
    if shape is None or source.random() < 0.4:
        sizes = tuple(source.choice((0, 1, 1, 2, 3, 5, 7)) for _ in range(source.randrange(6)))
    else:
        sizes = tuple(source.choice((0, 1, 2, 3, 8)) if size is None else size for size in shape)
        if source.random() < 0.3 and sizes:
            place = source.randrange(len(sizes))
            sizes = (*sizes[:place], source.choice((0, 1, 2, 9)), *sizes[place + 1 :])
    if source.random() < 0.2:
        dtype = source.choice((DType.FLOAT, DType.INT32, DType.INT64, DType.STRING, DType.BOOL, DType.DOUBLE))
    if dtype is DType.STRING:
        filled = np.empty(sizes, object)
        filled.reshape(-1)[:] = [source.randbytes(source.randrange(4)) for _ in range(filled.size)]
        return filled
    values = np.array([source.choice((-3, 0, 1, 2, 300, 2**31 - 1)) for _ in range(int(np.prod(sizes)))], np.float64)
    return (
        values.reshape(sizes).astype(dtype.numpy)
        if dtype is not DType.INT32
        else np.clip(values, -(2**31), 2**31 - 1).reshape(sizes).astype(np.int32)
    )


def test_a_thousand_runs_with_inputs_of_all_kinds_end_in_an_answer_or_an_invalid_argument(load: Load) -> None:
    graphs = [adder(2.0, (None, 3)), picker(), convolution((1, 5, 5, 1)), convolution((None, None, None, 1))]
    graphs += [enlargement(), finder(), adder(1.0, None)]
    seen: Counter[str] = Counter()
    for number, graph in enumerate(graphs):
        source = random.Random(number)
        aliases = {"abc"[place]: tensor for place, tensor in enumerate(graph.inputs)}
        # Every graph once as the main one, and once as another.
        signatures = [FileSignature(f"s{place}", place, aliases, {"out": graph.outputs[0]}) for place in (0, 1)]
        servable = load(litert_model([graph, graph], signatures))
        for attempt in range(150):
            name = f"s{attempt % 2}"
            specs: Mapping[str, Any] = servable.signatures[name].inputs
            inputs = {alias: fuzzed(source, spec.shape, spec.dtype) for alias, spec in specs.items()}
            try:
                servable.run(name, inputs, ["out"])
                seen["answers"] += 1
            except InvalidArgument:
                seen["refusals"] += 1
    assert seen.total() >= 1000
    assert min(seen.values()) > 50


# Loading.


def test_an_operation_that_litert_does_not_know_fails_the_load_with_advice(load: Load) -> None:
    for shape in ((1,), (None, None)):
        graph = Graph([Tensor("x", shape), Tensor("y", shape)], [0], [1], [(CUSTOM, [0], [1])])
        with pytest.raises(InvalidArgument, match=r"LiteRT refuses model\.tflite: .*Unheard.*TFLITE_BUILTINS"):
            load(litert_model([graph]))


def test_what_is_whole_and_wrong_fails_the_load(load: Load) -> None:
    graph = Graph(
        [Tensor("a", (2,), "int32"), Tensor("b", (3,), "int32"), Tensor("y", (3,), "int32")],
        [0, 1],
        [2],
        [(0, [0, 1], [2])],
    )
    with pytest.raises(InvalidArgument, match=r"LiteRT refuses model\.tflite: Given shapes, \[2\] and \[3\]"):
        load(litert_model([graph]))


def test_a_file_that_is_overwritten_after_the_load_changes_nothing(load: Load, tmp_path: Path) -> None:
    content = litert_model([adder(2.0)])
    servable = load(content, interpreters=4)
    (tmp_path / "model.tflite").write_bytes(b"")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: run(servable, x=np.ones((1, 32), np.float32))["y"].max(), range(100)))
    assert set(answers) == {3.0}


def test_an_unloaded_version_says_so(load: Load) -> None:
    servable = load(litert_model([adder(2.0)]))
    servable.unload()
    with pytest.raises(ServingError, match="unloaded"):
        run(servable, x=np.ones((1, 32), np.float32))


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    write_model(tmp_path, litert_model([adder(2.0)]))
    program = (
        "import sys, pathlib, numpy; from hotserve.platforms.registry import loader_for\n"
        "servable = loader_for('litert').load(pathlib.Path(sys.argv[1]))\n"
        "servable.run('serving_default', {'x': numpy.ones((1, 32), 'f4')}, ['y'])\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'tensorflow'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


# The pool.


def test_as_many_runs_go_on_at_once_as_there_are_interpreters_and_the_others_wait() -> None:
    pool = InterpreterPool(litert_model([adder(2.0)]), limit=2, threads=1)
    with pool.borrowed() as first, pool.borrowed() as second:
        assert first is not second
        third: list[object] = []
        waiting = threading.Thread(target=lambda: third.append(pool.borrowed().__enter__()))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        assert third == []
    waiting.join()
    assert third[0] in (first, second)


def test_an_event_loop_does_not_wait_for_the_runs_of_others() -> None:
    pool = InterpreterPool(litert_model([adder(2.0)]), limit=1, threads=1)

    async def reserve() -> object:
        with pool.borrowed() as interpreter:
            return interpreter

    with pool.borrowed() as only:
        spare = asyncio.run(reserve())
        assert spare is not only
        assert asyncio.run(reserve()) is spare
    assert asyncio.run(reserve()) is only


def test_those_who_wait_are_told_when_the_version_is_unloaded() -> None:
    pool = InterpreterPool(litert_model([adder(2.0)]), limit=1, threads=1)
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(ServingError) as raised, pool.borrowed():
            pass
        refused.append(raised.value.message)

    with pool.borrowed():
        waiting = threading.Thread(target=wait)
        waiting.start()
        pool.close()
        waiting.join()
    assert refused == ["The version is unloaded."]


def test_other_threads_go_on_while_the_interpreter_works(load: Load) -> None:
    # With the GIL held, the counter would stand still during the run.
    weights = Tensor("w", (2048, 2048), value=np.ones((2048, 2048), np.float32))
    options = schema.FullyConnectedOptionsT()
    fully_connected = schema.BuiltinOperator.FULLY_CONNECTED
    graph = Graph(
        [Tensor("x", (None, 2048)), weights, Tensor("y", (None, 2048))],
        [0],
        [2],
        [(fully_connected, [0, 1, -1], [2])],
        {0: (schema.BuiltinOptions.FullyConnectedOptions, options)},
    )
    servable = load(litert_model([graph]))
    x = np.ones((256, 2048), np.float32)
    run(servable, x=x)
    counted: list[int] = [0]
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            time.sleep(0)  # lets the GIL go

    counter = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    counter.start()
    try:
        # Nobody asks for the GIL within a run: only whoever lets it go gives others a chance.
        sys.setswitchinterval(1000)
        before = counted[0]
        run(servable, x=x)
        after = counted[0]
    finally:
        done.set()
        sys.setswitchinterval(interval)
        counter.join()
    assert after > before


@pytest.mark.parametrize("threads", [1, 2])
def test_the_answer_does_not_depend_on_the_number_of_threads(load: Load, threads: int) -> None:
    servable = load(litert_model([convolution((None, 5, 5, 1))]), threads=threads)
    assert set(run(servable, image=np.ones((64, 5, 5, 1), np.float32))["y"].ravel().tolist()) == {9.0}

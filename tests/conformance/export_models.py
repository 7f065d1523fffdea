"""Writes the models of the conformance suite; run as a program, because importing TensorFlow takes seconds.

    python export_models.py FOLDER

Each model is a graph that does as little as its signatures need: what is tested is the server around it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{verb}" for verb in ("predict", "classify", "regress"))

DTYPES = (
    *("float", "double", "half", "bfloat16", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "string"),
)

Tensors = Mapping[str, Any]


def signature(inputs: Tensors, outputs: Tensors, method: str = PREDICT) -> Any:
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        method,
    )


def export(folder: Path, build: Callable[[], Mapping[str, Any]], as_text: bool = False) -> None:
    """Writes a TensorFlow 1 export of the graph and the signatures that `build` makes."""
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = build()
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=dict(signatures))
        builder.save(as_text)


def half_plus_two() -> Mapping[str, Any]:
    """The tutorial's model: x to x / 2 + 2, directly and from examples."""
    x = v1.placeholder(tf.float32, [None, 1], name="x")
    serialized = v1.placeholder(tf.string, name="tf_example")
    parsed = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})["x"]
    half = v1.get_variable("half", initializer=0.5)
    y = tf.add(x * half, 2.0, name="y")
    from_examples = parsed * half + 2.0
    return {
        "serving_default": signature({"x": x}, {"y": y}),
        "regress_x_to_y": signature({"inputs": serialized}, {"outputs": from_examples}, REGRESS),
        "regress_x2_to_y3": signature({"inputs": x}, {"outputs": y}, REGRESS),
        "classify_x_to_y": signature({"inputs": serialized}, {"scores": from_examples}, CLASSIFY),
    }


def echo() -> Mapping[str, Any]:
    """For each dtype a signature that answers its input as it came, of any shape."""
    signatures = {}
    for name in DTYPES:
        x = v1.placeholder(tf.as_dtype(name), name=f"{name}_x")
        signatures[name] = signature({"x": x}, {"y": tf.identity(x)})
    text = v1.placeholder(tf.string, name="text_x")
    signatures["text_bytes"] = signature({"x": text}, {"y_bytes": tf.identity(text)})
    signatures["text_both"] = signature({"x": text}, {"y": tf.identity(text), "y_bytes": tf.identity(text)})
    return signatures


def pair() -> Mapping[str, Any]:
    """Two inputs, a and b, as they came."""
    a = v1.placeholder(tf.float32, name="a")
    b = v1.placeholder(tf.float32, name="b")
    return {
        "serving_default": signature({"a": a, "b": b}, {"a": tf.identity(a), "b": tf.identity(b)}),
        "sum": signature({"a": a, "b": b}, {"sum": a + b}),
        "with_default": with_default(signature({"a": a, "b": b}, {"sum": a + b}), b=100.0),
    }


def with_default(definition: Any, **values: float) -> Any:
    for alias, value in values.items():
        definition.defaults[alias].CopyFrom(tf.make_tensor_proto(value, tf.float32))
    return definition


def odd() -> Mapping[str, Any]:
    """Signatures whose answers, or whose runs, are out of the ordinary."""
    x = v1.placeholder(tf.float32, name="x")
    steps = v1.placeholder(tf.int32, [], name="steps")
    return {
        "no_inputs": signature({}, {"y": tf.constant([1.5, 2.5])}),
        "rank_0": signature({"x": x}, {"y": tf.reduce_sum(x)}),
        "two_batches": signature({"x": x}, {"a": tf.identity(x), "b": x[:2]}),
        "no_rows": signature({"x": x}, {"y": x[:0]}),
        "no_rows_twice": signature({"x": x}, {"a": x[:0], "b": x[:0]}),
        "same_input": signature({"a": x, "b": x}, {"y": tf.identity(x)}),
        "same_output": signature({"x": x}, dict.fromkeys(["a", "b"], x + 1.0)),
        "matrix": signature({"x": x}, {"y": tf.matmul(x, tf.ones([3, 2]))}),
        "to_half": signature({"x": x}, {"y": tf.cast(x, tf.half)}),
        "to_complex": signature({"x": x}, {"y": tf.cast(x, tf.complex64)}),
        "to_half_and_float": signature({"x": x}, {"a": tf.cast(x, tf.half), "b": tf.identity(x)}),
        "long_text": signature({"x": x}, {"y": check_with_a_long_text(x)}),
        "slow": signature({"steps": steps}, {"y": counted_up_to(steps)}),
    }


def counted_up_to(steps: Any) -> Any:
    """As many steps as the client asks for, each of a few microseconds."""
    return v1.while_loop(lambda i: i < steps, lambda i: i + 1, [tf.constant(0)], parallel_iterations=1)


def check_with_a_long_text(x: Any) -> Any:
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x > 0.0), ["é" * 2000], summarize=10)]):
        return tf.identity(x)


def examples() -> Mapping[str, Any]:
    """Signatures for examples with the float feature x: those that fit, and one for each way not to."""
    serialized = v1.placeholder(tf.string, [None], name="tf_example")
    floats = v1.placeholder(tf.float32, [None], name="floats")
    x = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})["x"]
    scores = x * tf.constant([[1.0, 2.0]])
    count = tf.shape(x)[0]
    labels = tf.tile(tf.constant([["low", "high"]]), [count, 1])
    three = tf.tile(tf.constant([["a", "b", "c"]]), [count, 1])
    given = {"inputs": serialized}

    def classifies(**outputs: Any) -> Any:
        return signature(given, outputs, CLASSIFY)

    def regresses(outputs: Any) -> Any:
        return signature(given, {"outputs": outputs}, REGRESS)

    return {
        "serving_default": classifies(classes=labels, scores=scores),
        "classes": classifies(classes=labels),
        "scores": classifies(scores=scores),
        # What the example was when it reached the model: its bytes in base64, as a label and nothing else.
        "mirror": classifies(classes=tf.reshape(tf.io.encode_base64(serialized), [-1, 1])),
        "column": regresses(x),
        "flat": regresses(tf.squeeze(x, 1)),
        "as_predict": signature(given, {"outputs": tf.squeeze(x, 1)}, PREDICT),
        "floats": signature({"inputs": floats}, {"outputs": floats}, REGRESS),
        # Signatures that do not fit.
        "two_inputs": signature({"inputs": serialized, "more": floats}, {"scores": scores, "outputs": x}, CLASSIFY),
        "other_input": signature({"text": serialized}, {"scores": scores}, CLASSIFY),
        "other_input_regress": signature({"text": serialized}, {"outputs": x}, REGRESS),
        "other_output": classifies(probabilities=scores),
        "other_output_regress": signature(given, {"value": x}, REGRESS),
        "three_outputs": classifies(classes=labels, scores=scores, more=x),
        # Answers that do not fit.
        "flat_scores": classifies(scores=tf.squeeze(x, 1)),
        "flat_classes": classifies(classes=tf.reshape(labels, [-1])),
        "double_scores": classifies(scores=tf.cast(scores, tf.float64)),
        "number_classes": classifies(classes=scores),
        "one_row_of_scores": classifies(scores=scores[:1]),
        "one_row_of_classes": classifies(classes=labels[:1]),
        "uneven": classifies(classes=three, scores=scores),
        "wide": regresses(scores),
        "short": regresses(x[:1]),
        "double": regresses(tf.cast(x, tf.float64)),
        "deep": regresses(tf.expand_dims(x, 2)),
    }


def plus(number: float) -> Callable[[], Mapping[str, Any]]:
    """x + number, so that an answer tells which version gave it."""

    def build() -> Mapping[str, Any]:
        x = v1.placeholder(tf.float32, name="x")
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})["x"]
        return {
            "serving_default": signature({"x": x}, {"y": x + number}),
            "regress": signature({"inputs": serialized}, {"outputs": parsed + number}, REGRESS),
        }

    return build


class HalfPlusTwo(tf.Module):
    """The same as `half_plus_two`, by TensorFlow 2."""

    @tf.function(input_signature=[tf.TensorSpec([1], tf.float32, name="x")])
    def __call__(self, x: Any) -> Any:
        return {"y": 0.5 * x + 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def from_examples(self, inputs: Any) -> Any:
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        return {"scores": 0.5 * x + 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs: Any) -> Any:
        return {"outputs": self.from_examples(inputs)["scores"]}


def main(folder: Path) -> None:
    export(folder / "half" / "00000123", half_plus_two)
    export(folder / "echo" / "1", echo)
    export(folder / "pair" / "1", pair)
    export(folder / "odd" / "1", odd)
    export(folder / "examples" / "7", examples)
    for version in (1, 2, 3, 4):
        export(folder / "plus" / str(version), plus(version))
    export(folder / "plus_as_text" / "1", plus(1), as_text=True)
    model = HalfPlusTwo()
    signatures = {"serving_default": model.__call__, "classify": model.from_examples, "regress": model.regress}
    tf.saved_model.save(model, str(folder / "tf2" / "1"), signatures=signatures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

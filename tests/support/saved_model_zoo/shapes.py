"""What is known of shapes, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from support.saved_model_zoo.building import ROW, constant, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input, Request


def _half_plus_two(x: Any) -> dict[str, Any]:
    return {"y": x * 0.5 + 2.0}


def _slices(x: Any) -> dict[str, Any]:
    return {
        "reversed": x[:, ::-1],
        "every_second": x[:, ::2],
        "last": x[:, -1],
        "new": x[:, None, 1:-1],
        "rest": x[1:],
        "first": x[:1],
    }


def _slice_at(x: Any, start: Any, size: Any) -> Any:
    return tf.slice(x, [0, start], [-1, size])


def _rearranged(x: Any) -> dict[str, Any]:
    return {
        "rolled": tf.roll(x, 2, 1),
        "reversed": tf.reverse(x, [0]),
        "tiled": tf.tile(x, [1, 2]),
        "padded": tf.pad(x, [[0, 0], [1, 2]], constant_values=7.0),
        "mirrored": tf.pad(x, [[0, 0], [2, 2]], "REFLECT"),
        "symmetric": tf.pad(x, [[0, 0], [2, 2]], "SYMMETRIC"),
        "transposed": tf.transpose(x),
        "stacked": tf.stack([x, x + 1.0], 1),
        "repeated": tf.repeat(x, [1, 2, 0, 1, 1, 3], axis=1),
    }


def _unstacked(x: Any) -> dict[str, Any]:
    first, second, third = tf.split(x, [1, 2, 3], 1)
    return {"first": first, "second": second, "third": third, "column": tf.unstack(x, axis=1)[3]}


def _about(x: Any) -> dict[str, Any]:
    return {"shape": tf.shape(x), "rank": tf.rank(x), "size": tf.size(x, tf.int64), "rows": tf.shape(x)[0]}


def _ranges(start: Any, stop: Any) -> dict[str, Any]:
    return {"range": tf.range(start, stop), "zeros": tf.zeros([stop]), "filled": tf.fill([stop, 2], 3.5)}


def _mesh(x: Any, y: Any) -> dict[str, Any]:
    a, b = tf.meshgrid(x, y)
    return {"a": a, "b": b, "outer": x[:, None] * y[None]}


def _many(*values: Any) -> dict[str, Any]:
    return {f"out_{place}": sum(values[: place + 1]) / float(place + 1) for place in range(len(values))}


def _reshaped(rows: int, height: int, width: int) -> Request:
    inputs = {"x": np.arange(rows * 6, dtype=np.float32).reshape(rows, 6), "s": np.array([height, width], np.int32)}
    return Request(f"{rows} rows to {height} x {width}", "serving_default", inputs)


ENTRIES: Sequence[Entry] = (
    function_entry("half_plus_two", _half_plus_two, {"x": Input((None,))}),
    function_entry("half_plus_two_of_a_column", _half_plus_two, {"x": Input((None, 1))}),
    function_entry("half_plus_two_of_one", _half_plus_two, {"x": Input((1,))}),
    function_entry("shapes_of_two_added", lambda x, y: x * y + x, {"x": Input((None, 1)), "y": Input((None, 1))}),
    function_entry("shape_of_three", lambda x: x + constant(3), {"x": Input((None, 3))}),
    function_entry("shape_by_size", lambda x: x / tf.cast(tf.size(x), tf.float32), {"x": Input((None, 1))}),
    function_entry("shape_looked_up", lambda x: tf.gather(constant(9), tf.size(x)) + x, {"x": Input((None, 1))}),
    function_entry(
        "shape_of_a_look_up", lambda x: tf.gather(constant(9, 4), x), {"x": Input((None, 2), "int32", 0, 9)}
    ),
    function_entry("shape_of_a_softmax", lambda x: tf.nn.softmax(x * 2.0), {"x": Input((None, 5))}),
    function_entry("shape_of_no_rank", lambda x: tf.tanh(x) * 2.0, {"x": Input((None, 4), rankless=True)}),
    function_entry("shape_of_no_rank_summed", lambda x: tf.reduce_sum(x, -1), {"x": Input((None, 4), rankless=True)}),
    function_entry("shape_unknown_inside", lambda x: tf.nn.softmax(x), {"x": Input((None, 5), declared=(None, None))}),
    function_entry("shape_fixed_batch", lambda x: tf.matmul(x, constant(6, 2)), {"x": Input((4, 6))}),
    function_entry("shape_scalar", lambda x: {"y": x * 2.0}, {"x": Input(())}),
    function_entry("shape_scalar_beside_rows", lambda x, k: x * k, {"x": ROW, "k": Input(())}),
    function_entry("no_inputs", lambda: {"answer": tf.constant(42.0), "words": tf.constant([b"a", b"b"])}, {}),
    function_entry("outputs_empty", lambda x: {"none": x[:, :0], "all": x}, {"x": ROW}),
    function_entry("output_is_input", lambda x: {"same": tf.identity(x), "twice": tf.identity(x)}, {"x": ROW}),
    function_entry("output_is_constant", lambda x: {"y": x + 1.0, "version": tf.constant([3, 1])}, {"x": ROW}),
    function_entry("input_without_use", lambda x, unused: x + 1.0, {"x": ROW, "unused": ROW}),
    function_entry("inputs_many", _many, {f"in_{place}": Input((None, 2), edges=place == 0) for place in range(7)}),
    function_entry("slices", _slices, {"x": ROW}),
    function_entry(
        "slice_by_input", _slice_at, {"x": ROW, "start": Input((), "int32", 0, 3), "size": Input((), "int32", 0, 3)}
    ),
    function_entry("rearranged", _rearranged, {"x": ROW}),
    function_entry("unstacked", _unstacked, {"x": ROW}),
    function_entry("about_shapes", _about, {"x": ROW}),
    function_entry(
        "reshape_by_input",
        lambda x, s: tf.reshape(x, s),
        {"x": ROW, "s": Input((2,), "int32", -1, 0)},
        [_reshaped(8, 6, 8), _reshaped(8, 4, 12), _reshaped(2, 12, -1), _reshaped(3, 5, 5)],
    ),
    function_entry("ranges", _ranges, {"start": Input((), "int32", 0, 3), "stop": Input((), "int32", 3, 9)}),
    function_entry("mesh", _mesh, {"x": Input((None,)), "y": Input((3,))}),
    function_entry(
        "broadcast", lambda a, b: a + b, {"a": Input((None, 1, 4)), "b": Input((3, 4), declared=(None, None))}
    ),
    function_entry("expand_and_squeeze", lambda x: tf.squeeze(x[:, None, :, None], 1), {"x": ROW}),
    function_entry("large_constant", lambda x: x @ constant(6, 400_000) @ constant(400_000, 1), {"x": ROW}),
)

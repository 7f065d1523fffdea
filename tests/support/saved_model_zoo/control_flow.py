"""Conditions and loops, in both of TensorFlow's forms, and checks that raise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import ROW, constant, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input, requests_for

_COUNT = Input((), "int32", 0, 6, edges=False)  # a million turns would take minutes


def _cond(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.sqrt(x), lambda: x * 2.0 - 1.0)


def _while(x: Any) -> Any:
    return tf.while_loop(lambda i, _: i < 5, lambda i, y: (i + 1, y * 0.5 + x), (0, x))[1]


def _while_until_small(x: Any) -> Any:
    def smaller(steps: Any, y: Any) -> tuple[Any, Any]:
        return steps + 1, y / 2.0

    steps, y = tf.while_loop(
        lambda steps, y: tf.logical_and(steps < 50, tf.reduce_max(tf.abs(y)) > 0.1), smaller, (0, x)
    )
    return {"steps": steps, "y": y}


def _map(x: Any) -> Any:
    return tf.map_fn(lambda row: tf.reduce_sum(row * row) / 2.0, x)


def _scan(x: Any) -> Any:
    return tf.scan(lambda total, row: total * 0.9 + row, x)


def _tensor_array(x: Any) -> Any:
    rows = tf.TensorArray(tf.float32, 4)
    for i in range(4):
        rows = rows.write(i, x * float(i))
    return rows.stack()


def _nested(x: Any, count: Any) -> Any:
    def body(i: Any, y: Any) -> tuple[Any, Any]:
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: y + x, lambda: y * 0.5)

    return tf.while_loop(lambda i, _: i < count, body, (0, tf.zeros_like(x)))[1]


def _switch(x: Any, which: Any) -> Any:
    return tf.switch_case(which, [lambda: x + 1.0, lambda: tf.exp(x), lambda: -x])


def _assert(x: Any) -> Any:
    with tf.control_dependencies([tf.debugging.assert_non_negative(x, "all numbers have to be positive or zero")]):
        return tf.sqrt(x)


def _check_numerics(x: Any) -> Any:
    return tf.debugging.check_numerics(tf.math.log(x), "the logarithm")


def _assert_nothing_depends_on(x: Any) -> Any:
    tf.debugging.assert_less(x, 50.0, "too large")
    return x + 1.0


def _ensure_shape(x: Any) -> Any:
    return tf.ensure_shape(x, (None, 6)) * 2.0


def _export_tf1(folder: Path) -> None:
    """With the operations of the time before functions: Enter, Exit, Switch, Merge, and reference variables."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.disable_control_flow_v2()
        tf.compat.v1.disable_resource_variables()
        x = tf.compat.v1.placeholder(tf.float32, (None, 6), "x")
        weights = tf.compat.v1.get_variable("weights", initializer=constant_v1(), use_resource=False)
        y = tf.compat.v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, weights))), (0, x))[1]
        y = tf.compat.v1.cond(tf.reduce_sum(y) > 0, lambda: y + 1.0, lambda: y - 1.0)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
        tf.compat.v1.enable_control_flow_v2()
        tf.compat.v1.enable_resource_variables()


def constant_v1() -> Any:
    return constant(6, 6, scale=0.4)


ENTRIES: Sequence[Entry] = (
    function_entry("flow_condition", _cond, {"x": ROW}),
    function_entry("flow_loop", _while, {"x": ROW}),
    function_entry("flow_loop_until_small", _while_until_small, {"x": ROW}),
    function_entry("flow_map", _map, {"x": ROW}),
    function_entry("flow_scan", _scan, {"x": ROW}),
    function_entry("flow_tensor_array", _tensor_array, {"x": ROW}),
    function_entry("flow_nested", _nested, {"x": ROW, "count": _COUNT}),
    function_entry("flow_switch", _switch, {"x": ROW, "which": Input((), "int32", 0, 3)}),
    Entry("flow_of_tensorflow_1", _export_tf1, requests_for({"x": ROW})),
    function_entry("check_assert", _assert, {"x": Input((None, 6), "float32", 0, 9)}),
    function_entry("check_assert_aside", _assert_nothing_depends_on, {"x": ROW}),
    function_entry("check_numerics", _check_numerics, {"x": Input((None, 6), "float32", 1, 9)}),
    function_entry("check_shape", _ensure_shape, {"x": Input((None, 6), declared=(None, None))}),
)

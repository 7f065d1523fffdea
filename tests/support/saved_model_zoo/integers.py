"""Integers and truth values: division, overflow, shifts, casts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import ROW, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_A = (None, 5)


def _arithmetic(a: Any, b: Any) -> dict[str, Any]:
    return {"sum": a + b, "difference": a - b, "product": a * b, "largest": tf.maximum(a, b), "squares": a * a}


def _division(a: Any, b: Any) -> dict[str, Any]:
    return {
        "floor": a // b,
        "remainder": a % b,
        "truncated": tf.truncatediv(a, b),
        "truncated_rest": tf.truncatemod(a, b),
    }


def _float_division(a: Any, b: Any) -> dict[str, Any]:
    return {"floor": a // b, "remainder": a % b, "quotient": a / b, "no_nan": tf.math.divide_no_nan(a, b)}


def _bits(a: Any, b: Any) -> dict[str, Any]:
    bits = tf.bitwise
    return {
        "and": bits.bitwise_and(a, b),
        "or": bits.bitwise_or(a, b),
        "xor": bits.bitwise_xor(a, b),
        "inverse": bits.invert(a),
        "left": bits.left_shift(a, b),
        "right": bits.right_shift(a, b),
    }


def _logic(a: Any, b: Any) -> dict[str, Any]:
    return {
        "and": a & b,
        "or": a | b,
        "xor": a ^ b,
        "not": ~a,
        "all": tf.reduce_all(a, 1),
        "any": tf.reduce_any(b, 1),
        "count": tf.math.count_nonzero(a, 1),
    }


def _casts_of_floats(x: Any) -> dict[str, Any]:
    return {
        "int8": tf.cast(x, tf.int8),
        "uint8": tf.cast(x, tf.uint8),
        "int32": tf.cast(x, tf.int32),
        "int64": tf.cast(x, tf.int64),
        "bool": tf.cast(x, tf.bool),
        "half": tf.cast(tf.cast(x, tf.float16), tf.float32),
        "saturated": tf.saturate_cast(x, tf.uint8),
    }


def _casts_of_integers(x: Any) -> dict[str, Any]:
    return {
        "int8": tf.cast(x, tf.int8),
        "uint8": tf.cast(x, tf.uint8),
        "int32": tf.cast(x, tf.int32),
        "float": tf.cast(x, tf.float32),
        "double": tf.cast(x, tf.float64),
        "bool": tf.cast(x, tf.bool),
    }


def _comparisons(a: Any, b: Any) -> dict[str, Any]:
    return {
        "less": a < b,
        "at_most": a <= b,
        "equal": tf.equal(a, b),
        "unequal": tf.not_equal(a, b),
        "greater": a > b,
        "chosen": tf.where(a > b, a, b),
    }


def _sums(x: Any) -> dict[str, Any]:
    return {
        "sum": tf.reduce_sum(x, 1),
        "product": tf.reduce_prod(x, 1),
        "mean": tf.reduce_mean(x, 1),
        "largest": tf.reduce_max(x, 1),
        "running": tf.cumsum(x, 1),
        "absolute": tf.abs(x),
        "sign": tf.sign(x),
        "power": x**3,
    }


def _both(function: Any, dtype: str, name: str, **limits: float) -> Entry:
    return function_entry(name, function, {"a": Input(_A, dtype), "b": Input(_A, dtype, **limits)})


ENTRIES: Sequence[Entry] = (
    *(_both(_arithmetic, dtype, f"integers_{dtype}") for dtype in ("int8", "uint8", "int16", "int32", "int64")),
    _both(_division, "int32", "integers_division_int32", low=-9, high=10),
    _both(_division, "int64", "integers_division_int64", low=1, high=10),
    _both(_float_division, "float32", "floats_division"),
    _both(_bits, "int32", "integers_bits", low=0, high=8),
    _both(_logic, "bool", "logic"),
    _both(_comparisons, "float32", "comparisons_of_floats"),
    _both(_comparisons, "int64", "comparisons_of_integers"),
    function_entry("casts_of_floats", _casts_of_floats, {"x": ROW}),
    function_entry("casts_of_integers", _casts_of_integers, {"x": Input(_A, "int64")}),
    function_entry("sums_of_integers", _sums, {"x": Input(_A, "int32")}),
    function_entry("sums_of_large_integers", _sums, {"x": Input(_A, "int64", 0, 2**40)}),
    function_entry("comparison_with_a_word", lambda x: tf.equal(x, "red"), {"x": Input(_A, "string")}),
)

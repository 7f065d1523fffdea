"""Numbers where engines may disagree: other precisions, what overflows, what is undefined, what has to be rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import ROW, constant, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input


def _elementary(x: Any) -> dict[str, Any]:
    m = tf.math
    functions = (m.exp, m.expm1, m.log, m.log1p, m.sqrt, m.rsqrt, m.square, m.reciprocal, m.sin, m.cos, m.tan, m.asin)
    more = (
        m.acos,
        m.atan,
        m.sinh,
        m.cosh,
        m.tanh,
        m.asinh,
        m.acosh,
        m.atanh,
        m.sigmoid,
        m.softplus,
        m.reciprocal_no_nan,
    )
    return {function.__name__: function(x) for function in (*functions, *more)}


def _special(x: Any) -> dict[str, Any]:
    m = tf.math
    functions = (m.erf, m.erfc, m.erfinv, m.lgamma, m.digamma, m.ndtri, m.bessel_i0e, m.special.expint)
    return {function.__name__: function(x) for function in functions}


def _rounded(x: Any) -> dict[str, Any]:
    m = tf.math
    return {function.__name__: function(x) for function in (m.round, m.rint, m.floor, m.ceil, m.sign, m.abs)}


def _told(x: Any) -> dict[str, Any]:
    return {
        "nan": tf.math.is_nan(x),
        "inf": tf.math.is_inf(x),
        "finite": tf.math.is_finite(x),
        "largest": tf.reduce_max(x, 1),
        "least": tf.reduce_min(x, 1),
        "relu": tf.nn.relu(x),
        "relu6": tf.nn.relu6(x),
        "clipped": tf.clip_by_value(x, -1.0, 1.0),
        "with_zero": tf.maximum(x, 0.0),
        "below_one": tf.minimum(x, 1.0),
    }


def _pairs(a: Any, b: Any) -> dict[str, Any]:
    return {
        "power": tf.pow(a, b),
        "atan2": tf.atan2(a, b),
        "remainder": tf.math.floormod(a, b),
        "xlogy": tf.math.xlogy(a, b),
        "quotient": a / b,
        "squared_difference": tf.math.squared_difference(a, b),
        "largest": tf.maximum(a, b),
    }


def _normalised(x: Any) -> dict[str, Any]:
    mean, variance = tf.nn.moments(x, 1)
    return {
        "softmax": tf.nn.softmax(x),
        "log_softmax": tf.nn.log_softmax(x),
        "logsumexp": tf.reduce_logsumexp(x, 1),
        "l2": tf.nn.l2_normalize(x, 1),
        "mean": mean,
        "variance": variance,
        "deviation": tf.math.reduce_std(x, 1),
        "norm": tf.norm(x, axis=1),
        "product": tf.reduce_prod(x, 1),
    }


def _running(x: Any) -> dict[str, Any]:
    return {
        "sum": tf.cumsum(x, 1),
        "before": tf.cumsum(x, 1, exclusive=True),
        "back": tf.cumsum(x, 1, reverse=True),
        "product": tf.math.cumprod(x, 1),
        "logsumexp": tf.math.cumulative_logsumexp(x, 1),
    }


def _losses(x: Any) -> dict[str, Any]:
    labels = tf.one_hot(tf.zeros(tf.shape(x)[:1], tf.int32), 6)
    return {
        "softmax": tf.nn.softmax_cross_entropy_with_logits(labels, x),
        "sigmoid": tf.nn.sigmoid_cross_entropy_with_logits(labels, x),
    }


def _quantised(x: Any) -> dict[str, Any]:
    return {
        "fake": tf.quantization.fake_quant_with_min_max_args(x, -3.0, 3.0),
        "steps": tf.round(x * 16.0) / 16.0,
        "back_and_forth": tf.quantization.quantize_and_dequantize_v2(x, -2.0, 2.0, range_given=True),
    }


def _fourier(x: Any) -> dict[str, Any]:
    spectrum = tf.signal.rfft(x)
    return {"power": tf.abs(spectrum), "angle": tf.math.angle(spectrum + 1.0), "again": tf.signal.irfft(spectrum)}


def _complex(x: Any) -> dict[str, Any]:
    z = tf.complex(x, x * 0.5)
    return {"square": z * z, "real": tf.math.real(z * z)}


def _mixed_precision(x: Any) -> Any:
    half = tf.cast(x, tf.float16)
    return tf.cast(tf.nn.relu(tf.matmul(half, tf.cast(constant(6, 4), tf.float16))), tf.float32)


def _of_type(dtype: str) -> Any:
    def function(x: Any) -> dict[str, Any]:
        weights = tf.cast(constant(6, 4), dtype)
        y = tf.matmul(x, weights)
        return {"dense": tf.tanh(y), "sum": tf.reduce_sum(x, 1), "softmax": tf.nn.softmax(y), "third": x / 3}

    return function


def _mixed_doubles(x: Any) -> Any:
    return tf.cast(tf.cast(x, tf.float64) / 3.0 * 3.0 - tf.cast(x, tf.float64), tf.float64)


ENTRIES: Sequence[Entry] = (
    function_entry("functions_elementary", _elementary, {"x": ROW}),
    function_entry("functions_special", _special, {"x": ROW}),
    function_entry("functions_of_two", _pairs, {"a": ROW, "b": ROW}),
    function_entry("rounding", _rounded, {"x": ROW}),
    function_entry("told_of_nan", _told, {"x": ROW}),
    function_entry("normalised", _normalised, {"x": ROW}),
    function_entry("running", _running, {"x": ROW}),
    function_entry("losses", _losses, {"x": ROW}),
    function_entry("quantised", _quantised, {"x": ROW}),
    function_entry("fourier", _fourier, {"x": Input((None, 8))}),
    function_entry("complex_out", _complex, {"x": ROW}),
    function_entry("complex_in", lambda z: tf.abs(z), {"z": Input((None, 3), "complex64")}),
    function_entry("precision_float64", _of_type("float64"), {"x": Input((None, 6), "float64")}),
    function_entry("precision_float16", _of_type("float16"), {"x": Input((None, 6), "float16")}),
    function_entry("precision_bfloat16", _of_type("bfloat16"), {"x": Input((None, 6), "bfloat16")}),
    function_entry("precision_mixed", _mixed_precision, {"x": ROW}),
    function_entry("precision_of_doubles_inside", _mixed_doubles, {"x": ROW}),
)

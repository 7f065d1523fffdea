"""Gathering, scattering, sorting, segments: what depends on indices, and shapes that depend on values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import ROW, constant, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_AT = Input((None,), "int32", 0, 6)
_AT_64 = Input((None,), "int64", 0, 6)


def _gather_rows(at: Any) -> Any:
    return tf.gather(constant(6, 3), at)


def _gather_of_input(x: Any, at: Any) -> Any:
    return tf.gather(x, at, axis=1)


def _gather_batched(x: Any, at: Any) -> Any:
    return tf.gather(x, at, batch_dims=1)


def _gather_nd(at: Any) -> Any:
    return tf.gather_nd(constant(6, 6), at)


def _embedding(at: Any) -> Any:
    return tf.reduce_mean(tf.nn.embedding_lookup(constant(6, 4), at), -1)


def _scatter(at: Any, x: Any) -> Any:
    return tf.scatter_nd(at[:, None], x, [6, 3])


def _update(at: Any, x: Any) -> dict[str, Any]:
    base = constant(6, 3)
    return {
        "set": tf.tensor_scatter_nd_update(base, at[:1, None], x[:1]),
        "added": tf.tensor_scatter_nd_add(base, at[:, None], x),
        "largest": tf.tensor_scatter_nd_max(base, at[:, None], x),
    }


def _one_hot(at: Any) -> dict[str, Any]:
    return {"hot": tf.one_hot(at, 6), "off": tf.one_hot(at, 6, 0.9, 0.1), "truth": tf.one_hot(at, 6, True, False)}


def _best(x: Any) -> dict[str, Any]:
    values, places = tf.math.top_k(x, 3)
    return {"values": values, "places": places, "best": tf.argmax(x, 1), "worst": tf.argmin(x, 1, tf.int32)}


def _sorted(x: Any) -> dict[str, Any]:
    return {
        "up": tf.sort(x, 1),
        "down": tf.sort(x, 1, "DESCENDING"),
        "places": tf.argsort(x, 1, stable=True),
        "places_down": tf.argsort(x, 1, "DESCENDING", stable=True),
    }


def _unique(x: Any) -> dict[str, Any]:
    values, places, counts = tf.unique_with_counts(x)
    return {"values": values, "places": places, "counts": counts}


def _where(x: Any) -> dict[str, Any]:
    return {"places": tf.where(x > 0.0), "positive": tf.boolean_mask(x, x > 0.0)}


def _segments(x: Any) -> dict[str, Any]:
    ids = tf.range(tf.shape(x)[0]) // 2
    return {
        "sum": tf.math.segment_sum(x, ids),
        "mean": tf.math.segment_mean(x, ids),
        "largest": tf.math.segment_max(x, ids),
        "product": tf.math.segment_prod(x, ids),
    }


def _unsorted_segments(x: Any, ids: Any) -> dict[str, Any]:
    return {
        "sum": tf.math.unsorted_segment_sum(x, ids, 6),
        "least": tf.math.unsorted_segment_min(x, ids, 6),
        "mean": tf.math.unsorted_segment_mean(x, ids, 6),
    }


def _counted(at: Any) -> dict[str, Any]:
    return {"counts": tf.math.bincount(at, minlength=6), "histogram": tf.histogram_fixed_width(at, [0, 6], 3)}


def _searched(x: Any) -> dict[str, Any]:
    edges = tf.constant([-1.0, 0.0, 0.5, 2.0])
    return {"left": tf.searchsorted(edges, x), "right": tf.searchsorted(edges, x, "right")}


def _parted(x: Any) -> dict[str, Any]:
    which = tf.cast(x > 0.0, tf.int32)
    parts = tf.dynamic_partition(x, which, 2)
    places = tf.dynamic_partition(tf.range(tf.size(x)), which, 2)
    return {"low": parts[0], "high": parts[1], "again": tf.dynamic_stitch(places, parts)}


def _ragged(x: Any) -> dict[str, Any]:
    ragged = tf.RaggedTensor.from_row_lengths(tf.reshape(x, [-1]), tf.fill([tf.shape(x)[0] * 2], 3))
    return {"sums": tf.reduce_sum(ragged, 1), "dense": ragged.to_tensor(-1.0)}


def _sparse(x: Any) -> dict[str, Any]:
    sparse = tf.sparse.from_dense(tf.nn.relu(x))
    return {
        "product": tf.sparse.sparse_dense_matmul(sparse, constant(6, 2)),
        "dense": tf.sparse.to_dense(sparse),
        "sum": tf.sparse.reduce_sum(sparse, 1),
        "places": sparse.indices,
    }


def _sequence_mask(lengths: Any) -> dict[str, Any]:
    return {"mask": tf.sequence_mask(lengths, 6), "own": tf.sequence_mask(lengths)}


def _in_top(x: Any, at: Any) -> Any:
    return tf.math.in_top_k(at, x, 2)


def _embedding_bag(at: Any) -> Any:
    flat = tf.reshape(at, [-1])
    rows = tf.repeat(tf.range(tf.shape(at)[0], dtype=tf.int64), tf.shape(at)[1])
    places = tf.stack([rows, tf.tile(tf.range(3, dtype=tf.int64), tf.shape(at)[:1])], 1)
    ids = tf.SparseTensor(places, flat, tf.cast(tf.shape(at), tf.int64))
    return tf.nn.embedding_lookup_sparse(constant(6, 4), ids, None, combiner="mean")


ENTRIES: Sequence[Entry] = (
    function_entry("gather_rows", _gather_rows, {"at": _AT}),
    function_entry("gather_rows_int64", _gather_rows, {"at": _AT_64}),
    function_entry("gather_of_input", _gather_of_input, {"x": ROW, "at": Input((2,), "int64", 0, 6)}),
    function_entry("gather_batched", _gather_batched, {"x": ROW, "at": Input((None, 2), "int32", 0, 6)}),
    function_entry("gather_nd", _gather_nd, {"at": Input((None, 2), "int32", 0, 6)}),
    function_entry("gather_embedding_lookup", _embedding, {"at": Input((None, 3), "int64", 0, 6)}),
    function_entry("gather_embedding_bag", _embedding_bag, {"at": Input((None, 3), "int64", 0, 6)}),
    function_entry("scatter", _scatter, {"at": _AT, "x": Input((None, 3))}),
    function_entry("scatter_update", _update, {"at": _AT, "x": Input((None, 3))}),
    function_entry("one_hot", _one_hot, {"at": _AT_64}),
    function_entry("best", _best, {"x": ROW}),
    function_entry("sorted", _sorted, {"x": ROW}),
    function_entry("unique", _unique, {"x": Input((None,), "int32", 0, 4)}),
    function_entry("where", _where, {"x": ROW}),
    function_entry("segments", _segments, {"x": ROW}),
    function_entry("segments_unsorted", _unsorted_segments, {"x": ROW, "ids": _AT}),
    function_entry("counted", _counted, {"at": _AT}),
    function_entry("searched", _searched, {"x": Input((None,))}),
    function_entry("parted", _parted, {"x": Input((None,))}),
    function_entry("ragged_inside", _ragged, {"x": ROW}),
    function_entry("sparse_inside", _sparse, {"x": ROW}),
    function_entry("sequence_mask", _sequence_mask, {"lengths": Input((None,), "int32", 0, 7)}),
    function_entry("in_top_k", _in_top, {"x": ROW, "at": _AT}),
)

"""Models that remember, that throw dice, or that have several signatures; the first two kinds cannot be moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import ROW, constant, function_entry, save, stateful_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input, requests_for

_WORDS = Input((None,), "string")


def _counter(module: tf.Module) -> Any:
    module.count = tf.Variable(0, dtype=tf.int64)

    def function(x: Any) -> dict[str, Any]:
        return {"y": x + 1.0, "count": module.count.assign_add(1)}

    return function


def _running_mean(module: tf.Module) -> Any:
    module.mean = tf.Variable(tf.zeros([6]))

    def function(x: Any) -> Any:
        return x - module.mean.assign(module.mean * 0.9 + tf.ones([6]) * 0.1)

    return function


def _mutable_table(module: tf.Module) -> Any:
    module.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)

    def function(x: Any) -> Any:
        seen = module.table.lookup(x)
        module.table.insert(x, seen + 1)
        return seen

    return function


def _generator(module: tf.Module) -> Any:
    module.generator = tf.random.Generator.from_seed(5)
    return lambda x: x + module.generator.normal(tf.shape(x))


def _variables(module: tf.Module) -> Any:
    module.weights = tf.Variable(constant(6, 4))
    module.bias = tf.Variable(constant(4))
    return lambda x: tf.nn.relu(tf.matmul(x, module.weights) + module.bias)


def _printed(x: Any) -> Any:
    tf.print("seen", tf.shape(x))
    return x * 2.0


def _export_signatures(folder: Path) -> None:
    module = tf.Module()
    module.weights = tf.Variable(constant(6, 3))
    module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0]), 0.0)

    def scores(x: Any) -> dict[str, Any]:
        return {"scores": tf.nn.softmax(tf.matmul(x, module.weights))}

    def labels(x: Any) -> dict[str, Any]:
        best = tf.argmax(tf.matmul(x, module.weights), 1)
        return {"labels": tf.gather(tf.constant(["red", "green", "blue"]), best), "best": best}

    save(
        folder,
        {
            "serving_default": (scores, {"x": ROW}),
            "labels": (labels, {"x": ROW}),
            "looked_up": (lambda words: module.table.lookup(words), {"words": _WORDS}),
            "embed": (lambda at: tf.gather(module.weights, at), {"at": Input((None,), "int64", 0, 6)}),
        },
        module,
    )


def _export_counter_beside(folder: Path) -> None:
    """One signature changes what the other one reads: neither can be moved."""
    module = tf.Module()
    module.offset = tf.Variable(0.0)

    def move(by: Any) -> Any:
        return module.offset.assign_add(by)

    save(
        folder,
        {"serving_default": (lambda x: x + module.offset, {"x": ROW}), "move": (move, {"by": Input((), edges=False)})},
        module,
    )


ENTRIES: Sequence[Entry] = (
    stateful_entry("state_counter", _counter, {"x": ROW}),
    stateful_entry("state_running_mean", _running_mean, {"x": ROW}),
    stateful_entry("state_mutable_table", _mutable_table, {"x": _WORDS}),
    stateful_entry("state_only_read", _variables, {"x": ROW}),
    Entry(
        "state_moved_by_another_signature",
        _export_counter_beside,
        [
            *requests_for({"x": ROW}),
            *requests_for({"by": Input(())}, "move")[:1],
            *requests_for({"x": ROW})[:2],
        ],
    ),
    function_entry("random_unseeded", lambda x: x + tf.random.normal(tf.shape(x)), {"x": ROW}),
    function_entry("random_seeded", lambda x: x + tf.random.uniform(tf.shape(x), seed=3), {"x": ROW}),
    function_entry("random_shuffle", lambda x: tf.random.shuffle(x), {"x": ROW}),
    function_entry("random_dropout", lambda x: tf.nn.dropout(x, 0.5), {"x": ROW}),
    function_entry("random_stateless", lambda x: x + tf.random.stateless_normal(tf.shape(x), (1, 2)), {"x": ROW}),
    stateful_entry("random_generator", _generator, {"x": ROW}),
    function_entry("time_of_day", lambda x: {"y": x * 1.5, "time": tf.timestamp()}, {"x": ROW}),
    function_entry("printed", _printed, {"x": ROW}),
    Entry(
        "signatures_of_several_kinds",
        _export_signatures,
        [
            *requests_for({"x": ROW}),
            *requests_for({"x": ROW}, "labels"),
            *requests_for({"words": _WORDS}, "looked_up"),
            *requests_for({"at": Input((None,), "int64", 0, 6)}, "embed"),
        ],
    ),
)

"""Strings in and out, tables, and signatures that take tf.Examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from support.saved_model_zoo.building import constant, function_entry, stateful_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input, Request

_WORDS = Input((None,), "string")


def _worked_on(x: Any) -> dict[str, Any]:
    return {
        "upper": tf.strings.upper(x),
        "joined": tf.strings.join([x, "!"], " "),
        "replaced": tf.strings.regex_replace(x, "[aeiou]", "_"),
        "length": tf.strings.length(x, "UTF8_CHAR"),
        "part": tf.strings.substr(x, 0, 2),
        "hash": tf.strings.to_hash_bucket_fast(x, 13),
        "base64": tf.io.encode_base64(x),
    }


def _split(x: Any) -> dict[str, Any]:
    words = tf.strings.split(x, ",")
    return {"words": words.to_tensor(""), "counts": words.row_lengths()}


def _numbers(x: Any) -> dict[str, Any]:
    return {"number": tf.strings.to_number(x), "text": tf.strings.as_string(tf.strings.to_number(x) * 2.0, 3)}


def _label(x: Any) -> Any:
    return tf.gather(tf.constant(["red", "green", "blue"]), tf.argmax(x, 1))


def _table(module: tf.Module) -> Any:
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["red", "green", "blue"], [1.5, 2.5, 3.5]), -1.0
    )
    return lambda x: module.table.lookup(x)


def _table_of_integers(module: tf.Module) -> Any:
    keys = tf.constant([3, 5, 8], tf.int64)
    module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, keys * 10), -1)
    return lambda x: module.table.lookup(x)


def _vocabulary_of_file(module: tf.Module) -> Any:
    path = Path(tf.io.gfile.join(tf.compat.v1.test.get_temp_dir(), "vocabulary.txt"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("red\ngreen\nblue\n")
    module.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        ),
        2,
    )
    return lambda x: module.table.lookup(x)


def _examples(serialized: Any) -> dict[str, Any]:
    features = tf.io.parse_example(
        serialized,
        {"x": tf.io.FixedLenFeature([3], tf.float32), "id": tf.io.FixedLenFeature([], tf.int64, 0)},
    )
    return {"y": tf.matmul(features["x"], constant(3, 2)), "id": features["id"]}


def _example(*x: float) -> bytes:
    feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=x))}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _asked(what: str, alias: str, values: Sequence[bytes]) -> Request:
    array = np.empty(len(values), object)
    array[:] = values
    return Request(what, "serving_default", {alias: array})


def _decoded_picture(data: Any) -> Any:
    picture = tf.map_fn(
        lambda one: tf.io.decode_png(one, channels=3), data, fn_output_signature=tf.TensorSpec((2, 2, 3), tf.uint8)
    )
    return tf.cast(picture, tf.float32) / 255.0


def _png() -> bytes:
    return bytes(tf.io.encode_png(tf.reshape(tf.range(12, dtype=tf.int32), (2, 2, 3)).numpy().astype(np.uint8)).numpy())


ENTRIES: Sequence[Entry] = (
    function_entry("words_worked_on", _worked_on, {"x": _WORDS}),
    function_entry("words_split", _split, {"x": _WORDS}),
    function_entry(
        "words_to_numbers",
        _numbers,
        {"x": Input((None,), "string", words=(b"12.5", b"-3", b"1e9", b"0"))},
        [_asked("a word that is no number", "x", [b"12", b"twelve"])],
    ),
    function_entry("words_of_labels", _label, {"x": Input((None, 3))}),
    stateful_entry("table_of_words", _table, {"x": _WORDS}),
    stateful_entry("table_of_integers", _table_of_integers, {"x": Input((None,), "int64", 0, 10)}),
    stateful_entry("table_of_a_file", _vocabulary_of_file, {"x": _WORDS}),
    function_entry(
        "examples_parsed",
        _examples,
        {"serialized": Input((None,), "string", words=(_example(1, 2, 3), _example(0, -1, 0.5)))},
        [_asked("no example", "serialized", [b"\xff\xff"]), _asked("too few values", "serialized", [_example(1)])],
    ),
    function_entry(
        "picture_decoded",
        _decoded_picture,
        {"data": Input((None,), "string", words=(_png(),))},
        [_asked("no picture", "data", [b"GIF"])],
    ),
)

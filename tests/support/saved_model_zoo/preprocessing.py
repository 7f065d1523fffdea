"""Layers of Keras that prepare what users send: numbers, words and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from support.saved_model_zoo.building import ROW, keras_entry, layers_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_WORD = Input((None, 1), "string", words=(b"red", b"green", b"blue", b"never seen", b""))
_PICTURE = Input((None, 6, 9, 3), "float32", 0, 255)


def _tabular(age: Any, colour: Any, code: Any) -> Any:
    normal = layers.Normalization(mean=40.0, variance=100.0)(age)
    bucket = layers.CategoryEncoding(4, "one_hot")(layers.Discretization([20.0, 40.0, 60.0])(age))
    word = layers.StringLookup(vocabulary=["red", "green", "blue"], output_mode="one_hot")(colour)
    hashed = layers.Flatten()(layers.Embedding(5, 2)(layers.Hashing(5)(code)))
    return layers.Dense(1, "sigmoid")(layers.Concatenate()([normal, bucket, word, hashed]))


def _classifier_of_text(text: Any) -> Any:
    tokens = layers.TextVectorization(vocabulary=["good", "bad", "film"], output_sequence_length=6)(text)
    return layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(tokens)))


def _crossing(a: Any, b: Any) -> Any:
    return layers.HashedCrossing(8, output_mode="one_hot")((a, b))


def _looked_back(x: Any) -> Any:
    best = keras.ops.argmax(layers.Dense(3)(x), -1)
    return layers.StringLookup(vocabulary=["red", "green", "blue"], invert=True, num_oov_indices=0)(best)


ENTRIES: Sequence[Entry] = (
    layers_entry("normalization", lambda: [layers.Normalization(mean=np.arange(6.0), variance=np.ones(6))]),
    layers_entry("discretization", lambda: [layers.Discretization([-1.0, 0.0, 0.5])]),
    layers_entry("category_one_hot", lambda: [layers.CategoryEncoding(5, "one_hot")], Input((None, 1), "int64", 0, 5)),
    layers_entry(
        "category_multi_hot", lambda: [layers.CategoryEncoding(5, "multi_hot")], Input((None, 3), "int64", 0, 5)
    ),
    layers_entry("category_count", lambda: [layers.CategoryEncoding(5, "count")], Input((None, 3), "int64", 0, 5)),
    layers_entry("lookup_of_words", lambda: [layers.StringLookup(vocabulary=["red", "green", "blue"])], _WORD),
    layers_entry(
        "lookup_of_integers", lambda: [layers.IntegerLookup(vocabulary=[3, 5, 8])], Input((None, 2), "int64", 0, 10)
    ),
    keras_entry("lookup_of_the_best_word", _looked_back, {"x": ROW}),
    layers_entry("hashing_of_words", lambda: [layers.Hashing(7)], _WORD),
    layers_entry("hashing_of_integers", lambda: [layers.Hashing(7, salt=3)], Input((None, 2), "int64", 0, 100)),
    keras_entry("hashing_of_pairs", _crossing, {"a": _WORD, "b": Input((None, 1), "int64", 0, 9)}),
    keras_entry(
        "tabular_with_words",
        _tabular,
        {"age": Input((None, 1), "float32", 10, 80), "colour": _WORD, "code": Input((None, 1), "int64", 0, 100)},
    ),
    keras_entry(
        "text_classifier",
        _classifier_of_text,
        {"text": Input((None, 1), "string", words=(b"good film", b"a BAD, bad film!", b"", "très bon".encode()))},
    ),
    layers_entry("picture_rescaled", lambda: [layers.Rescaling(1 / 127.5, -1.0), layers.Conv2D(2, 3)], _PICTURE),
    layers_entry("picture_resized", lambda: [layers.Resizing(4, 5)], _PICTURE),
    layers_entry("picture_resized_nearest", lambda: [layers.Resizing(7, 4, "nearest")], _PICTURE),
    layers_entry("picture_resized_bicubic", lambda: [layers.Resizing(7, 4, "bicubic")], _PICTURE),
    layers_entry("picture_resized_keeping_ratio", lambda: [layers.Resizing(4, 4, pad_to_aspect_ratio=True)], _PICTURE),
    layers_entry("picture_cropped", lambda: [layers.CenterCrop(4, 5)], _PICTURE),
    # They turn pictures outside of training too, when they are called without a word about it.
    layers_entry(
        "picture_turned_at_random",
        lambda: [layers.RandomFlip(seed=1), layers.RandomRotation(0.1, seed=2)],
        _PICTURE,
    ),
)

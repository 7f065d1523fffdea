"""Layers of Keras without convolutions and without time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from support.saved_model_zoo.building import ROW, keras_entry, layers_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_IDS = Input((None, 5), "int64", 0, 10)

_ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "softplus", "softsign", "squareplus", "sigmoid"),
    *("hard_sigmoid", "silu", "hard_silu", "mish", "tanh", "hard_tanh", "exponential", "softmax", "log_softmax"),
    *("log_sigmoid", "soft_shrink", "hard_shrink", "tanh_shrink", "sparse_plus", "sparsemax", "threshold"),
)


def _activations(names: Sequence[str]) -> Any:
    def build(x: Any) -> dict[str, Any]:
        return {name: layers.Activation(_activation(name), name=name)(x) for name in names}

    return build


def _activation(name: str) -> Any:
    if name == "threshold":
        return lambda x: keras.activations.threshold(x, 0.5, -1.0)
    return name


def _merges(a: Any, b: Any) -> dict[str, Any]:
    kinds = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    merged = {kind.__name__: kind()([a, b]) for kind in kinds}
    return merged | {"Concatenate": layers.Concatenate()([a, b]), "Dot": layers.Dot(1, normalize=True)([a, b])}


def _residual(x: Any) -> Any:
    y = layers.Dense(6, "swish")(layers.LayerNormalization()(x))
    return layers.Dense(3)(layers.Add()([x, y]))


def _wide_and_deep(numbers: Any, ids: Any) -> dict[str, Any]:
    embedded = layers.Flatten()(layers.Embedding(10, 4)(ids))
    deep = layers.Dense(8, "relu")(layers.Concatenate()([numbers, embedded]))
    return {"score": layers.Dense(1, "sigmoid")(deep), "logits": layers.Dense(3)(deep)}


def _towers(user: Any, item: Any) -> Any:
    embed = layers.Embedding(10, 4)
    return layers.Dot(1)([layers.Flatten()(embed(user)), layers.Flatten()(embed(item))])


ENTRIES: Sequence[Entry] = (
    layers_entry("dense_one_layer", lambda: [layers.Dense(3)]),
    layers_entry("dense_perceptron", lambda: [layers.Dense(16, "relu"), layers.Dense(8, "tanh"), layers.Dense(3)]),
    layers_entry("dense_softmax", lambda: [layers.Dense(16, "relu"), layers.Dense(10, "softmax")]),
    layers_entry("dense_of_three_dimensions", lambda: [layers.Dense(4, "relu")], Input((None, 3, 6))),
    layers_entry(
        "dense_sigmoid_wide", lambda: [layers.Dense(256, "relu"), layers.Dense(1, "sigmoid")], Input((None, 64))
    ),
    keras_entry("activations_of_keras", _activations(_ACTIVATIONS), {"x": ROW}),
    layers_entry("activation_prelu", lambda: [layers.PReLU("glorot_normal"), layers.ReLU(2.0, 0.1, 0.5)]),
    layers_entry(
        "activation_gelu_exact", lambda: [layers.Dense(5), layers.Lambda(lambda x: keras.activations.gelu(x))]
    ),
    layers_entry("activation_gelu_approximate", lambda: [layers.Lambda(lambda x: keras.activations.gelu(x, True))]),
    layers_entry("dropout_and_noise", lambda: [layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.Dense(3)]),
    layers_entry("norm_batch", lambda: [layers.Dense(5), layers.BatchNormalization(), layers.ReLU()]),
    layers_entry("norm_layer", lambda: [layers.LayerNormalization(), layers.Dense(3)]),
    layers_entry("norm_group", lambda: [layers.GroupNormalization(2)], Input((None, 4, 4, 6))),
    layers_entry("norm_unit_and_rms", lambda: [layers.UnitNormalization(), layers.RMSNormalization()]),
    keras_entry("merges", _merges, {"a": ROW, "b": ROW}),
    keras_entry("residual_block", _residual, {"x": ROW}),
    layers_entry(
        "reshape_and_permute",
        lambda: [layers.Reshape((2, 3, 4)), layers.Permute((3, 1, 2)), layers.Flatten(), layers.RepeatVector(2)],
        Input((None, 24)),
    ),
    layers_entry("einsum_dense", lambda: [layers.EinsumDense("abc,cd->abd", (None, 5))], Input((None, 3, 6))),
    layers_entry("embedding", lambda: [layers.Embedding(10, 4)], _IDS),
    layers_entry(
        "embedding_mean", lambda: [layers.Embedding(10, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)], _IDS
    ),
    layers_entry(
        "embedding_masked",
        lambda: [layers.Embedding(10, 4, mask_zero=True), layers.GlobalAveragePooling1D(), layers.Dense(2)],
        Input((None, 5), "int32", 0, 10),
    ),
    layers_entry("embedding_of_floats", lambda: [layers.Embedding(10, 4)], Input((None, 5), "float32", 0, 10)),
    keras_entry("wide_and_deep", _wide_and_deep, {"numbers": ROW, "ids": _IDS}),
    keras_entry(
        "two_towers", _towers, {"user": Input((None, 1), "int64", 0, 10), "item": Input((None, 1), "int64", 0, 10)}
    ),
)

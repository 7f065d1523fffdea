"""Layers of Keras that look at neighbours: convolutions, poolings, padding, cropping, sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers

from support.saved_model_zoo.building import keras_entry, layers_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_LINE = Input((None, 12, 4))
_PICTURE = Input((None, 8, 8, 3))
_CUBE = Input((None, 4, 4, 4, 2))


def _poolings(x: Any) -> dict[str, Any]:
    return {
        "max": layers.MaxPooling2D(2)(x),
        "max_same": layers.MaxPooling2D(3, 2, "same")(x),
        "average": layers.AveragePooling2D(2)(x),
        "average_same": layers.AveragePooling2D(3, 2, "same")(x),
        "global_max": layers.GlobalMaxPooling2D()(x),
        "global_average": layers.GlobalAveragePooling2D(keepdims=True)(x),
    }


def _residual_network(x: Any) -> Any:
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    for width, stride in ((8, 1), (16, 2)):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        short = x if stride == 1 else layers.Conv2D(width, 1, stride)(y)
        y = layers.Conv2D(width, 3, stride, "same", use_bias=False)(y)
        y = layers.Conv2D(width, 3, padding="same")(layers.ReLU(6.0)(layers.BatchNormalization()(y)))
        x = layers.Add()([short, y])
    return layers.Dense(5, "softmax")(layers.GlobalAveragePooling2D()(x))


def _inverted_residual(x: Any) -> Any:
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(12, 1, use_bias=False)(x)))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)))
    squeezed = layers.Conv2D(12, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = layers.BatchNormalization()(layers.Conv2D(3, 1, use_bias=False)(layers.Multiply()([y, squeezed])))
    return layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.Add()([x, y])))


def _u_net(x: Any) -> Any:
    down = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(down))
    up = layers.Conv2DTranspose(4, 3, 2, "same", activation="relu")(low)
    return layers.Conv2D(2, 1, activation="softmax")(layers.Concatenate()([down, up]))


ENTRIES: Sequence[Entry] = (
    layers_entry("conv1d", lambda: [layers.Conv1D(5, 3, activation="relu"), layers.GlobalMaxPooling1D()], _LINE),
    layers_entry("conv1d_causal_dilated", lambda: [layers.Conv1D(5, 3, padding="causal", dilation_rate=2)], _LINE),
    layers_entry("conv1d_transposed", lambda: [layers.Conv1DTranspose(5, 3, 2, "same")], _LINE),
    layers_entry("conv1d_separable", lambda: [layers.SeparableConv1D(5, 3), layers.DepthwiseConv1D(3)], _LINE),
    layers_entry("conv2d_same_strided", lambda: [layers.Conv2D(5, 3, 2, "same", activation="relu")], _PICTURE),
    layers_entry(
        "conv2d_digits",
        lambda: [
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ],
        Input((None, 14, 14, 1)),
    ),
    layers_entry("conv2d_dilated", lambda: [layers.Conv2D(5, 3, dilation_rate=2)], _PICTURE),
    layers_entry("conv2d_grouped", lambda: [layers.Conv2D(6, 3, groups=3)], _PICTURE),
    layers_entry("conv2d_depthwise", lambda: [layers.DepthwiseConv2D(3, depth_multiplier=2)], _PICTURE),
    layers_entry("conv2d_separable", lambda: [layers.SeparableConv2D(5, 3, 2, "same")], _PICTURE),
    layers_entry("conv2d_transposed", lambda: [layers.Conv2DTranspose(4, 3, 2, "same")], _PICTURE),
    layers_entry("conv2d_transposed_valid", lambda: [layers.Conv2DTranspose(4, 3, 3, output_padding=1)], _PICTURE),
    layers_entry(
        "conv2d_of_unknown_size",
        lambda: [
            layers.Conv2D(5, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ],
        Input((None, 9, 7, 3), declared=(None, None, None, 3)),
    ),
    layers_entry("conv3d", lambda: [layers.Conv3D(3, 2), layers.MaxPooling3D(), layers.AveragePooling3D(1)], _CUBE),
    layers_entry("conv3d_transposed", lambda: [layers.Conv3DTranspose(3, 2, 2)], _CUBE),
    keras_entry("poolings_2d", _poolings, {"x": _PICTURE}),
    layers_entry(
        "poolings_1d",
        lambda: [layers.MaxPooling1D(2, 1), layers.AveragePooling1D(3, 2, "same"), layers.GlobalAveragePooling1D()],
        _LINE,
    ),
    layers_entry("poolings_3d", lambda: [layers.AveragePooling3D(2, 1, "same"), layers.GlobalMaxPooling3D()], _CUBE),
    layers_entry("sampling_up_nearest", lambda: [layers.UpSampling2D(2), layers.UpSampling2D((1, 3))], _PICTURE),
    layers_entry("sampling_up_bilinear", lambda: [layers.UpSampling2D(2, interpolation="bilinear")], _PICTURE),
    layers_entry(
        "padding_and_cropping",
        lambda: [layers.ZeroPadding2D(((1, 2), (0, 3))), layers.Cropping2D(((0, 1), (2, 0))), layers.Conv2D(2, 3)],
        _PICTURE,
    ),
    keras_entry("network_residual", _residual_network, {"x": _PICTURE}),
    keras_entry("network_inverted_residual", _inverted_residual, {"x": _PICTURE}),
    keras_entry("network_u_net", _u_net, {"x": _PICTURE}),
)

"""Networks put together by dice, from a seed: what nobody thought of."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from support.saved_model_zoo.building import keras_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_ACTIVATIONS = ("relu", "gelu", "tanh", "silu", "elu", "sigmoid", "softplus", "leaky_relu")


def _on_rows(dice: random.Random) -> Callable[[Any], Any]:
    """A layer from [batch, n] to [batch, m]."""
    choices: Sequence[Callable[[], layers.Layer]] = (
        lambda: layers.Dense(dice.randint(2, 32), dice.choice(_ACTIVATIONS)),
        layers.LayerNormalization,
        layers.BatchNormalization,
        lambda: layers.Activation(dice.choice(_ACTIVATIONS)),
        lambda: layers.Dropout(0.3),
    )
    return dice.choice(choices)()


def _on_pictures(dice: random.Random) -> Callable[[Any], Any]:
    """A layer from [batch, height, width, n] to the same with other sizes."""
    same = {"padding": "same"}
    choices: Sequence[Callable[[], layers.Layer]] = (
        lambda: layers.Conv2D(dice.randint(2, 9), dice.choice((1, 3)), activation=dice.choice(_ACTIVATIONS), **same),
        lambda: layers.DepthwiseConv2D(3, dice.choice((1, 2)), **same),
        lambda: layers.SeparableConv2D(dice.randint(2, 6), 3, **same),
        layers.BatchNormalization,
        lambda: layers.MaxPooling2D(2, **same),
        lambda: layers.AveragePooling2D(2, 1, **same),
        lambda: layers.UpSampling2D(2),
        lambda: layers.Activation(dice.choice(_ACTIVATIONS)),
    )
    return dice.choice(choices)()


def _branched(make: Callable[[random.Random], Callable[[Any], Any]], seed: int, end: Callable[[Any], Any]) -> Any:
    def build(x: Any) -> Any:
        dice = random.Random(seed)
        for _ in range(dice.randint(2, 5)):
            y = make(dice)(x)
            x = layers.Concatenate()([x, y]) if x.shape[1:-1] == y.shape[1:-1] and dice.random() < 0.4 else y
        return end(x)

    return build


def _end_of_pictures(x: Any) -> Any:
    return layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x))


ENTRIES: Sequence[Entry] = (
    *(
        keras_entry(f"composite_rows_{seed}", _branched(_on_rows, seed, layers.Dense(2)), {"x": Input((None, 9))})
        for seed in range(4)
    ),
    *(
        keras_entry(
            f"composite_pictures_{seed}",
            _branched(_on_pictures, seed, _end_of_pictures),
            {"x": Input((None, 8, 8, 2))},
        )
        for seed in range(6)
    ),
)

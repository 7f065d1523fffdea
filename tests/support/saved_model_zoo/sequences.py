"""Layers of Keras that go through time, and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from support.saved_model_zoo.building import keras_entry, layers_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_STEPS = Input((None, 7, 4))
_IDS = Input((None, 6), "int64", 0, 20)


def _attentions(query: Any, value: Any) -> dict[str, Any]:
    return {
        "dot": layers.Attention()([query, value]),
        "scaled": layers.Attention(use_scale=True)([query, value]),
        "additive": layers.AdditiveAttention()([query, value]),
        "heads": layers.MultiHeadAttention(2, 3)(query, value),
    }


def _transformer(ids: Any, mask: Any) -> Any:
    width = 8
    seen = keras.ops.cast(mask, "float32")
    x = layers.Embedding(20, width)(ids) + layers.Embedding(6, width)(keras.ops.arange(6))
    for _ in range(2):
        attended = layers.MultiHeadAttention(2, 4)(x, x, attention_mask=keras.ops.expand_dims(mask, 1) > 0)
        x = layers.LayerNormalization(epsilon=1e-6)(x + attended)
        x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dense(width)(layers.Dense(16, "gelu")(x)))
    seen = keras.ops.expand_dims(seen, -1)
    pooled = keras.ops.sum(x * seen, 1) / keras.ops.maximum(keras.ops.sum(seen, 1), 1e-9)
    return {"pooled": pooled, "classes": layers.Dense(3, "softmax")(pooled)}


def _causal(x: Any) -> Any:
    return layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)


ENTRIES: Sequence[Entry] = (
    layers_entry("lstm", lambda: [layers.LSTM(5), layers.Dense(2)], _STEPS),
    layers_entry("lstm_stacked", lambda: [layers.LSTM(5, return_sequences=True), layers.LSTM(3)], _STEPS),
    layers_entry("lstm_of_unknown_length", lambda: [layers.LSTM(4)], Input((None, 5, 4), declared=(None, None, 4))),
    layers_entry(
        "lstm_masked",
        lambda: [layers.Embedding(20, 4, mask_zero=True), layers.LSTM(5), layers.Dense(2)],
        Input((None, 6), "int64", 0, 20),
    ),
    layers_entry("gru", lambda: [layers.GRU(5), layers.Dense(2)], _STEPS),
    layers_entry("gru_backwards", lambda: [layers.GRU(5, go_backwards=True, reset_after=False)], _STEPS),
    layers_entry("rnn_simple", lambda: [layers.SimpleRNN(5, return_sequences=True)], _STEPS),
    layers_entry("rnn_unrolled", lambda: [layers.SimpleRNN(5, unroll=True)], _STEPS),
    layers_entry("lstm_bidirectional", lambda: [layers.Bidirectional(layers.LSTM(3)), layers.Dense(2)], _STEPS),
    layers_entry("lstm_convolutional", lambda: [layers.ConvLSTM1D(3, 2)], Input((None, 4, 6, 2))),
    layers_entry("time_distributed", lambda: [layers.TimeDistributed(layers.Dense(3, "relu"))], _STEPS),
    keras_entry("attentions", _attentions, {"query": Input((None, 4, 6)), "value": Input((None, 5, 6))}),
    keras_entry("attention_causal", _causal, {"x": _STEPS}),
    keras_entry("transformer", _transformer, {"ids": _IDS, "mask": Input((None, 6), "int64", 0, 2)}),
)

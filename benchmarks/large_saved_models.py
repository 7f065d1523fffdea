"""SavedModels whose runs take milliseconds, as their users export them from Keras: ResNet-50, and a small transformer.

    python large_saved_models.py convnet BASE_PATH
    python large_saved_models.py transformer BASE_PATH

writes version 1, and beside it, in `answers.npy`, what the model says to each request of `large_inputs`. The weights
are random, from a fixed seed: what the models answer means nothing, what they cost does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from large_inputs import PICTURE_SHAPE, TOKENS, VOCABULARY, pictures, texts

HIDDEN, HEADS, LAYERS = 256, 4, 4

_SEED = 50


def convnet() -> keras.Model:
    """ResNet-50: `image`: float [?, 224, 224, 3] to float [?, 1000]; 25.6 million parameters."""
    image = keras.Input(PICTURE_SHAPE, name="image")
    return keras.applications.ResNet50(weights=None, input_tensor=image)


def transformer() -> keras.Model:
    """An encoder in the manner of BERT: `input_ids` and `attention_mask`: int64 [?, 128], to float [?, 256].

    The output is the mean of the tokens that count; 4 layers, 11 million parameters.

    Source: Devlin et al., BERT, section 3.
    """
    ids = keras.Input((TOKENS,), dtype="int64", name="input_ids")
    mask = keras.Input((TOKENS,), dtype="int64", name="attention_mask")
    x = layers.Embedding(VOCABULARY, HIDDEN)(ids) + layers.Embedding(TOKENS, HIDDEN)(ops.arange(TOKENS))
    x = layers.LayerNormalization(epsilon=1e-12)(x)
    for _ in range(LAYERS):
        attended = layers.MultiHeadAttention(HEADS, HIDDEN // HEADS)(x, x, attention_mask=ops.expand_dims(mask, 1) > 0)
        x = layers.LayerNormalization(epsilon=1e-12)(x + attended)
        inner = layers.Dense(HIDDEN)(layers.Dense(4 * HIDDEN, "gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-12)(x + inner)
    counts = ops.expand_dims(ops.cast(mask, "float32"), -1)
    return keras.Model([ids, mask], ops.sum(x * counts, 1) / ops.maximum(ops.sum(counts, 1), 1.0))


def main() -> None:
    """The program."""
    kind, base_path = sys.argv[1], Path(sys.argv[2])
    keras.utils.set_random_seed(_SEED)
    make, requests = {"convnet": (convnet, pictures), "transformer": (transformer, texts)}[kind]
    model = make()
    model.export(base_path / "1", verbose=False)
    answers = [model([request[tensor.name] for tensor in model.inputs], training=False) for request in requests()]
    np.save(base_path / "answers.npy", np.concatenate([np.asarray(answer) for answer in answers]))


if __name__ == "__main__":
    main()

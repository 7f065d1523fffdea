"""Models of the benches as SavedModels, for servers that take nothing else.

    python saved_models.py half_plus_two FOLDER
    python saved_models.py matrices FOLDER COUNT

write one; a program of its own, because importing TensorFlow takes seconds and half a gigabyte.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
from digits import MODEL_FILE
from models import MATRIX_WIDTH, random_rows
from onnx import numpy_helper


def half_plus_two(base_path: Path) -> None:
    """Writes version 1 of the tutorial's model: `x`: float [?] to `y`, x / 2 + 2.

    Raises:
        RuntimeError: TensorFlow is not there, or fails.
    """
    _write("half_plus_two", base_path)


def digits(base_path: Path) -> None:
    """Writes version 1 of the bundled digit model, with its weights: `image`: float [?, 28, 28, 1] to
    `probabilities`: float [?, 10].

    Raises:
        RuntimeError: TensorFlow is not there, or fails.
    """
    _write("digits", base_path)


def matrices(base_path: Path, size: int) -> None:
    """Writes version 1 of a model that is large and calculates with all of it: `x`: float [?, 1024] to `y`, the same.

    Args:
        base_path: Where.
        size: How many bytes its matrices of 1024 x 1024 have, about; they are variables.

    Raises:
        RuntimeError: TensorFlow is not there, or fails.
    """
    _write("matrices", base_path, max(1, size // (4 * MATRIX_WIDTH**2)))


def _write(name: str, base_path: Path, *numbers: int) -> None:
    words = [sys.executable, __file__, name, str(base_path / "1"), *map(str, numbers)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name} cannot be written as a SavedModel: {done.stderr}")


def _half_plus_two() -> Any:
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.half = tf.Variable(0.5)
            self.two = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x * self.half + self.two}

    return HalfPlusTwo()


def _digits() -> Any:
    import tensorflow as tf

    weights = {item.name: numpy_helper.to_array(item) for item in onnx.load(str(MODEL_FILE)).graph.initializer}
    # ONNX has the channels in front, TensorFlow at the back: of pictures, of kernels, and of what is flattened.
    channels = weights["kernel_2"].shape[0]
    side = round((weights["dense_1"].shape[0] / channels) ** 0.5)
    dense = weights["dense_1"].reshape(channels, side, side, -1).transpose(1, 2, 0, 3)

    class Digits(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernels = [tf.Variable(weights[name].transpose(2, 3, 1, 0)) for name in ("kernel_1", "kernel_2")]
            self.biases = [tf.Variable(weights[name]) for name in ("bias_1", "bias_2")]
            self.dense = [tf.Variable(dense.reshape(weights["dense_1"].shape)), tf.Variable(weights["dense_2"])]
            self.dense_biases = [tf.Variable(weights[name]) for name in ("dense_bias_1", "dense_bias_2")]

        @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32, name="image")])
        def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            current = image
            for kernel, bias in zip(self.kernels, self.biases, strict=True):
                current = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(current, kernel, 1, "VALID"), bias))
                current = tf.nn.max_pool2d(current, 2, 2, "VALID")
            current = tf.reshape(current, [-1, self.dense[0].shape[0]])
            current = tf.nn.relu(current @ self.dense[0] + self.dense_biases[0])
            return {"probabilities": tf.nn.softmax(current @ self.dense[1] + self.dense_biases[1])}

    return Digits()


def _matrices(count: int) -> Any:
    import tensorflow as tf

    class Matrices(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrices = [tf.Variable(random_rows(MATRIX_WIDTH)) for _ in range(count)]

        @tf.function(input_signature=[tf.TensorSpec([None, MATRIX_WIDTH], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for matrix in self.matrices:
                x = x @ matrix
            return {"y": x}

    return Matrices()


if __name__ == "__main__":
    import tensorflow

    makers = {"half_plus_two": _half_plus_two, "digits": _digits, "matrices": _matrices}
    module = makers[sys.argv[1]](*map(int, sys.argv[3:]))
    tensorflow.saved_model.save(module, sys.argv[2], signatures=module.__call__)

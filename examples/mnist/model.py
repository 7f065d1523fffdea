"""Trains a small convolutional network on MNIST and saves it as a new version for the model server."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras
import tensorflow as tf
from digits import Digits, TutorialError, pixels, read_train_and_test
from keras import layers


def build_model() -> keras.Model:
    """The untrained network: `image` [n, 28, 28, 1] from 0 to 1 in, [n, 10] probabilities out."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(50, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="img_classifier",
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(train_digits: Digits, test_digits: Digits, epochs: int, batch_size: int) -> tuple[keras.Model, float]:
    """Trains a new network.

    Returns:
        The network, and the share of the test digits that it reads right.
    """
    model = build_model()
    model.fit(pixels(train_digits.images), train_digits.labels, batch_size=batch_size, epochs=epochs)
    _, accuracy = model.evaluate(pixels(test_digits.images), test_digits.labels, verbose=0)
    return model, float(accuracy)


def save_version(model: keras.Model, base_path: Path) -> Path:
    """Saves the model as a SavedModel in `base_path/<unix time>`; a higher number is a newer version.

    A server may be watching `base_path`. hotserve waits until a folder is finished, so that the one line
    `model.export(path)` would do for it; TensorFlow Serving takes up a number as soon as it appears. So the folder
    is written under a name that is no number, which every server passes over, and gets its number in one step.

    Returns:
        The new version's folder.
    """
    base_path.mkdir(parents=True, exist_ok=True)
    version = int(time.time())
    while (base_path / str(version)).exists():
        version += 1
    path = base_path / str(version)
    with tempfile.TemporaryDirectory(dir=base_path, prefix=".unfinished-") as unfinished:
        model.export(Path(unfinished) / "model", verbose=False)
        (Path(unfinished) / "model").rename(path)
    return path


def repeatable(seed: int) -> None:
    """Makes the training start from `seed` and take the same steps each time, on the same machine and versions."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def download() -> tuple[Digits, Digits]:
    """MNIST from Keras, which keeps its copy in ~/.keras/datasets.

    Raises:
        TutorialError: It cannot be downloaded.
    """
    try:
        train_arrays, test_arrays = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras reports a failed download as a plain Exception
        raise TutorialError(
            f"MNIST could not be downloaded: {error}. "
            "Check the connection, or fetch mnist.npz elsewhere and give its path: --data mnist.npz"
        ) from error
    return Digits(*train_arrays), Digits(*test_arrays)


def at_least_one(text: str) -> int:
    """Reads a flag's value that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a mnist.npz to use; without it, Keras downloads MNIST once")
    parser.add_argument("--epochs", type=at_least_one, default=10, help="rounds over the training data (10)")
    parser.add_argument("--batch_size", type=at_least_one, default=128, help="images per training step (128)")
    parser.add_argument(
        "--output", type=Path, default=Path("img_classifier"), help="folder of versions (./img_classifier)"
    )
    parser.add_argument("--seed", type=int, help="train repeatably from this number")
    args = parser.parse_args()

    if args.seed is not None:
        repeatable(args.seed)
    try:
        train_digits, test_digits = download() if args.data is None else read_train_and_test(args.data)
    except TutorialError as error:
        raise SystemExit(f"model.py: {error}") from error
    model, accuracy = train(train_digits, test_digits, args.epochs, args.batch_size)
    print(f"Test accuracy: {accuracy:.4f}")
    path = save_version(model, args.output)
    print(f"Saved version {path.name} in {path}")


if __name__ == "__main__":
    main()

"""What the three programs of this tutorial share: reading the digits, and showing what a model made of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hotserve import demo

PICTURE = Path("predictions.png")
TIMEOUT_S = 30.0

EXPECTED = "expected a .npz file with the arrays x_train, y_train, x_test and y_test, as Keras's mnist.npz has them"
HINT = "Give --data the path of such a file, or leave --data out."


class TutorialError(Exception):
    """Something the reader of the tutorial can put right; the message says how."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Pictures of handwritten digits and what they show.

    Attributes:
        images: [n, 28, 28] uint8, 0 for paper and 255 for ink.
        labels: [n] integers, 0 to 9.
    """

    images: NDArray[np.uint8]
    labels: NDArray[Any]


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's input, [n, 28, 28, 1] float32 from 0 to 1, of [n, 28, 28] uint8."""
    return (images.astype(np.float32) / 255)[..., np.newaxis]


def read_train_and_test(path: Path) -> tuple[Digits, Digits]:
    """Reads the training and the test digits of a `mnist.npz`.

    Raises:
        TutorialError: The file is missing, is no .npz file, or holds something else.
    """
    arrays = _read_arrays(path)
    return _digits(arrays, "train", path), _digits(arrays, "test", path)


def four_digits(path: Path | None) -> Digits:
    """The first four images of MNIST's test set: 7, 2, 1 and 0.

    Args:
        path: A `mnist.npz` to take them from; `None` for the copies that come with hotserve, so that a client
            needs neither Keras nor a download.

    Raises:
        TutorialError: The file is missing, is no .npz file, or holds something else.
    """
    if path is None:
        sample = demo.sample()
        return Digits(sample.images[:4], sample.labels[:4])
    test = _digits(_read_arrays(path), "test", path)
    if len(test.labels) < 4:
        raise TutorialError(f"{path}: expected at least 4 images in x_test, got {len(test.labels)}. {HINT}")
    return Digits(test.images[:4], test.labels[:4])


def show(digits: Digits, probabilities: NDArray[np.floating[Any]], picture: Path = PICTURE) -> None:
    """Prints the probabilities and what was predicted, and draws the digits with their predictions into `picture`.

    Args:
        digits: The n digits that were sent.
        probabilities: [n, 10], the model's answer.
        picture: The .png file to write.
    """
    predicted = probabilities.argmax(axis=1)
    with np.printoptions(precision=4, suppress=True, linewidth=110, floatmode="fixed"):
        print(probabilities)
    for true, guess in zip(digits.labels, predicted, strict=True):
        print(f"True Value: {true}, Predicted Value: {guess}")

    # A Figure of its own, without pyplot, draws with Agg: it needs no screen.
    figure = Figure(figsize=(2 * len(predicted), 2.4), layout="constrained")
    every_axes = figure.subplots(1, len(predicted), squeeze=False)[0]
    for axes, image, guess in zip(every_axes, digits.images, predicted, strict=True):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(f"Predicted: {guess}")
        axes.set_axis_off()
    figure.savefig(picture)
    print(f"The picture is in {picture}")


def checked(answer: object, count: int) -> NDArray[np.float64]:
    """The answer as an array, after a look at its shape.

    Args:
        answer: What the server sent, as nested lists or an array.
        count: How many images it was asked about.

    Raises:
        TutorialError: It is not `count` rows of 10 numbers.
    """
    try:
        probabilities = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        probabilities = np.empty(0)
    if probabilities.shape != (count, 10):
        raise TutorialError(
            f"Expected {count} rows of 10 probabilities, got {str(answer)[:200]}. "
            "Another kind of model seems to answer under this name: look at --model_name."
        )
    return probabilities


def _read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    if not path.exists():
        raise TutorialError(f"{path}: {EXPECTED}, but there is no such file. {HINT}")
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return dict(file)
    # numpy reads a lone .npy as an array, which is no context manager (TypeError); it takes whatever has no
    # known beginning for a pickle, which it may not open (ValueError); an empty file is an EOFError.
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TutorialError(f"{path}: {EXPECTED}, but it cannot be read as one ({error}). {HINT}") from error


def _digits(arrays: Mapping[str, NDArray[Any]], part: str, path: Path) -> Digits:
    missing = [name for name in (f"x_{part}", f"y_{part}") if name not in arrays]
    if missing:
        found = ", ".join(arrays) or "nothing"
        raise TutorialError(f"{path}: {EXPECTED}, but {' and '.join(missing)} is missing; found: {found}. {HINT}")
    images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise TutorialError(
            f"{path}: expected x_{part} to be uint8 [n,28,28] with values 0 to 255 (the programs scale them), "
            f"got {images.dtype} {list(images.shape)}. {HINT}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise TutorialError(
            f"{path}: expected y_{part} to be one integer for each of the {len(images)} images in x_{part}, "
            f"got {labels.dtype} {list(labels.shape)}. {HINT}"
        )
    if not len(labels):
        raise TutorialError(f"{path}: expected images in x_{part}, got none. {HINT}")
    if labels.min() < 0 or labels.max() > 9:
        raise TutorialError(
            f"{path}: expected y_{part} to hold digits from 0 to 9, got {labels.min()} to {labels.max()}. {HINT}"
        )
    return Digits(images, labels)

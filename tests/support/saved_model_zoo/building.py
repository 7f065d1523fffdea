"""Short ways to describe a model of the zoo. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input, Request, requests_for

ROW = Input((None, 6))


def function_entry(
    name: str,
    function: Callable[..., Any],
    inputs: Mapping[str, Input],
    also: Sequence[Request] = (),
) -> Entry:
    """A model of one signature, which is a function of tensors.

    Args:
        name: The model's.
        function: Takes a tensor for each input, in their order; gives a tensor or a mapping of them.
        inputs: Alias -> what it takes.
        also: Requests beside those that the inputs tell of.
    """

    def export(folder: Path) -> None:
        save(folder, {"serving_default": (function, inputs)})

    return Entry(name, export, [*requests_for(inputs), *also])


def stateful_entry(
    name: str,
    make: Callable[[tf.Module], Callable[..., Any]],
    inputs: Mapping[str, Input],
    also: Sequence[Request] = (),
) -> Entry:
    """A model of one signature that has variables or tables.

    Args:
        name: The model's.
        make: Puts them on the module that it is given, and gives the function that uses them.
        inputs: Alias -> what it takes.
        also: Requests beside those that the inputs tell of.
    """

    def export(folder: Path) -> None:
        module = tf.Module()
        save(folder, {"serving_default": (make(module), inputs)}, module)

    return Entry(name, export, [*requests_for(inputs), *also])


def layers_entry(name: str, layers: Callable[[], Sequence[keras.Layer]], given: Input = ROW) -> Entry:
    """A Keras model of layers in a row, exported as Keras does."""

    def build(x: keras.KerasTensor) -> keras.KerasTensor:
        for layer in layers():
            x = layer(x)
        return x

    return keras_entry(name, build, {"x": given})


def keras_entry(
    name: str, build: Callable[..., Any], inputs: Mapping[str, Input], also: Sequence[Request] = ()
) -> Entry:
    """A Keras model, exported as Keras does.

    Args:
        name: The model's.
        build: Takes a symbolic tensor for each input, in their order; gives one, a list or a mapping of them.
        inputs: Alias -> what it takes; the first size is that of the batch.
        also: Requests beside those that the inputs tell of.
    """

    def export(folder: Path) -> None:
        keras.utils.set_random_seed(len(name))
        tensors = [
            keras.Input(
                batch_shape=given.shape if given.declared is None else given.declared, dtype=given.dtype, name=alias
            )
            for alias, given in inputs.items()
        ]
        model = keras.Model(tensors, build(*tensors))
        model.export(folder, verbose=False)

    return Entry(name, export, [*requests_for(inputs), *also])


def save(
    folder: Path,
    signatures: Mapping[str, tuple[Callable[..., Any], Mapping[str, Input]]],
    module: tf.Module | None = None,
) -> None:
    """Writes a SavedModel.

    Args:
        folder: Where.
        signatures: Name -> the function and its inputs.
        module: What holds the variables and tables.
    """
    module = tf.Module() if module is None else module
    concrete = {}
    for name, (function, inputs) in signatures.items():
        wrapped = tf.function(function, input_signature=[spec(alias, given) for alias, given in inputs.items()])
        setattr(module, f"signature_{name}", wrapped)
        concrete[name] = wrapped.get_concrete_function()
    tf.saved_model.save(module, folder, signatures=concrete)


def spec(alias: str, given: Input) -> tf.TensorSpec:
    """What a signature declares of an input."""
    shape = None if given.rankless else given.shape if given.declared is None else given.declared
    return tf.TensorSpec(shape, given.dtype, alias)


def constant(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normals of float32."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale, np.float32)

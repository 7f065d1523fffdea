"""The model that every peer serves, in ONNX Runtime: what is the same in all of them.

Reads two environment variables: `MODEL_FILE` and `INTRA_OP_THREADS`, the threads of one run. Needs nothing but numpy
and ONNX Runtime, so that it can be imported wherever a peer is installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

_NUMBERS = {"tensor(float)": float, "tensor(int64)": int}
_DTYPES = {float: np.float32, int: np.int64}


class ServedModel:
    """A session, and what its inputs are called.

    Attributes:
        numbers: Name of an input -> what its elements are in Python.
        ranks: Name of an input -> how many dimensions it has, that of the rows included.
        output_rank: The same of the output.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("INTRA_OP_THREADS", "0"))
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        self.numbers = {argument.name: _NUMBERS[argument.type] for argument in inputs}
        self.ranks = {argument.name: len(argument.shape) for argument in inputs}
        self.output_rank = len(self._session.get_outputs()[0].shape)

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Runs the model; returns its first output.

        Args:
            inputs: Name -> array, the rows in the first dimension.
        """
        output: np.ndarray = self._session.run(None, dict(inputs))[0]
        return output

    def arrays(self, instances: Sequence[Any]) -> dict[str, np.ndarray]:
        """Turns rows as JSON has them into the inputs.

        Args:
            instances: A row is the value of the only input, or a mapping with the value of each.

        Raises:
            ValueError: What is there is no array of numbers.
            KeyError: An input is missing in a row.
        """
        dtypes = {name: _DTYPES[number] for name, number in self.numbers.items()}
        if len(dtypes) == 1:
            return {name: np.array(instances, dtype) for name, dtype in dtypes.items()}
        return {name: np.array([row[name] for row in instances], dtype) for name, dtype in dtypes.items()}

    def predict(self, instances: Sequence[Any]) -> list[Any]:
        """Rows as JSON has them -> what the model says to each."""
        predictions: list[Any] = self.run(self.arrays(instances)).tolist()
        return predictions

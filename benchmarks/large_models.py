"""Two models whose runs take milliseconds: a convolutional network of ResNet-50's size, and a small transformer.

Their weights are random, from a fixed seed: what they answer means nothing, what they cost does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from large_inputs import PICTURE_SHAPE, TOKENS, VOCABULARY
from models import save
from numpy.typing import NDArray
from onnx import TensorProto, helper

CLASSES = 1000
HIDDEN, HEADS, LAYERS = 256, 4, 4

_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks and width of each of ResNet-50's four stages; a block's output has four times its width."""

_SEED = 50
_MASKED = -1e9
"""What is added to the attention that nobody is to pay: its softmax is 0."""


def convnet(base_path: Path) -> None:
    """Writes version 1 of ResNet-50 without weights that mean anything: `image`: float [?, 224, 224, 3] to
    `probabilities`: float [?, 1000]; 25.5 million parameters.

    The normalisation of a batch is not there: in a network that is served it is part of the convolutions.

    Source: He et al., Deep Residual Learning for Image Recognition, table 1; the stride of a stage is in the 3 x 3
    convolution of its first block.
    """
    graph = _Graph()
    current = graph.add("Transpose", ["image"], perm=[0, 3, 1, 2])
    current = graph.add("Relu", [graph.convolution(current, PICTURE_SHAPE[2], 64, kernel=7, stride=2)])
    current = graph.add("MaxPool", [current], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (blocks, width) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            inner = graph.add("Relu", [graph.convolution(current, channels, width, kernel=1)])
            inner = graph.add("Relu", [graph.convolution(inner, width, width, kernel=3, stride=stride)])
            # Small steps, so that the activations of sixteen blocks stay in the range of the first.
            inner = graph.convolution(inner, width, 4 * width, kernel=1, gain=0.25)
            if block == 0:
                current = graph.convolution(current, channels, 4 * width, kernel=1, stride=stride)
            channels = 4 * width
            current = graph.add("Relu", [graph.add("Add", [inner, current])])
    current = graph.add("Flatten", [graph.add("GlobalAveragePool", [current])])
    current = graph.dense(current, channels, CLASSES)
    graph.add("Softmax", [current], output="probabilities", axis=1)
    save(base_path, graph.nodes, graph.weights, {"image": [None, *PICTURE_SHAPE]}, {"probabilities": [None, CLASSES]})


def transformer(base_path: Path) -> None:
    """Writes version 1 of an encoder in the manner of BERT: `input_ids` and `attention_mask`: int64 [?, 128], to
    `embedding`: float [?, 256], the mean of the tokens that count; 4 layers, 11 million parameters.

    Source: Devlin et al., BERT, section 3; Vaswani et al., Attention Is All You Need, section 3.2.
    """
    graph = _Graph()
    mask = graph.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    away = graph.add("Mul", [graph.add("Sub", [graph.number(1), mask]), graph.number(_MASKED)])
    away = graph.add("Unsqueeze", [away, graph.numbers([1, 2])])
    words = graph.weight((VOCABULARY, HIDDEN), 1)
    current = graph.add("Gather", [words, "input_ids"], axis=0)
    current = graph.normal(graph.add("Add", [current, graph.weight((TOKENS, HIDDEN), 0.1)]))
    for _ in range(LAYERS):
        current = graph.normal(graph.add("Add", [current, graph.attention(current, away)]))
        inner = graph.dense(current, HIDDEN, 4 * HIDDEN)
        # x times its sigmoid: close to the original's gelu, which is no operation of its own in this version of ONNX.
        inner = graph.add("Mul", [inner, graph.add("Sigmoid", [inner])])
        current = graph.normal(graph.add("Add", [current, graph.dense(inner, 4 * HIDDEN, HIDDEN)]))
    mask = graph.add("Unsqueeze", [mask, graph.numbers([2])])
    total = graph.add("ReduceSum", [graph.add("Mul", [current, mask]), graph.numbers([1])], keepdims=0)
    counted = graph.add("ReduceSum", [mask, graph.numbers([1])], keepdims=0)
    graph.add("Div", [total, counted], output="embedding")
    inputs = {"input_ids": [None, TOKENS], "attention_mask": [None, TOKENS]}
    save(base_path, graph.nodes, graph.weights, inputs, {"embedding": [None, HIDDEN]}, TensorProto.INT64)


class _Graph:
    """Nodes and weights, which get their names by themselves."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
        self._random = np.random.default_rng(_SEED)

    def add(self, operation: str, inputs: Sequence[str], output: str = "", **attributes: object) -> str:
        """Adds a node; returns the name of its output."""
        output = output or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    def weight(self, shape: Sequence[int], scale: float) -> str:
        """Adds normally distributed weights."""
        return self._keep(self._random.standard_normal(shape, np.float32) * np.float32(scale))

    def number(self, value: float) -> str:
        return self._keep(np.array(value, np.float32))

    def numbers(self, values: Sequence[int]) -> str:
        return self._keep(np.array(values, np.int64))

    def convolution(
        self, value: str, channels: int, filters: int, *, kernel: int, stride: int = 1, gain: float = 1
    ) -> str:
        """Adds a convolution that keeps the size, but for its stride."""
        # He's initialisation: a relu halves the variance.
        scale = gain * (2 / (channels * kernel * kernel)) ** 0.5
        weights = [self.weight((filters, channels, kernel, kernel), scale), self.weight((filters,), 0.01)]
        pads = [kernel // 2] * 4
        return self.add("Conv", [value, *weights], kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads)

    def dense(self, value: str, width: int, units: int) -> str:
        """Adds a product with a matrix, and a bias."""
        product = self.add("MatMul", [value, self.weight((width, units), width**-0.5)])
        return self.add("Add", [product, self.weight((units,), 0.01)])

    def normal(self, value: str) -> str:
        """Adds a layer normalisation over the last dimension."""
        scale, bias = self._keep(np.ones(HIDDEN, np.float32)), self._keep(np.zeros(HIDDEN, np.float32))
        return self.add("LayerNormalization", [value, scale, bias], axis=-1, epsilon=1e-12)

    def attention(self, value: str, away: str) -> str:
        """Adds self-attention of all heads: [?, tokens, hidden] to the same.

        Args:
            value: What attends.
            away: Added to the products of queries and keys, [?, 1, 1, tokens].
        """
        split = self.numbers([0, TOKENS, HEADS, HIDDEN // HEADS])
        parts = [self.add("Reshape", [self.dense(value, HIDDEN, HIDDEN), split]) for _ in range(3)]
        query = self.add("Transpose", [parts[0]], perm=[0, 2, 1, 3])
        key = self.add("Transpose", [parts[1]], perm=[0, 2, 3, 1])
        values = self.add("Transpose", [parts[2]], perm=[0, 2, 1, 3])
        scores = self.add("Mul", [self.add("MatMul", [query, key]), self.number((HIDDEN // HEADS) ** -0.5)])
        shares = self.add("Softmax", [self.add("Add", [scores, away])], axis=-1)
        joined = self.add("Transpose", [self.add("MatMul", [shares, values])], perm=[0, 2, 1, 3])
        return self.dense(self.add("Reshape", [joined, self.numbers([0, TOKENS, HIDDEN])]), HIDDEN, HIDDEN)

    def _keep(self, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        name = f"weight{len(self.weights)}"
        self.weights[name] = value
        return name

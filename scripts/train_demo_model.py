"""Trains the bundled demo model: the network of examples/mnist on MNIST, as one small ONNX graph.

    python scripts/train_demo_model.py --data mnist.npz

It writes digits/1/model.onnx, mnist_sample.npz and PROVENANCE.md into src/hotserve/demo, all three or none. It needs
the packages of `.[test]`.

The graph is written here, from the trained weights, and by no converter. tf2onnx, which is behind Keras's own
`export(format="onnx")` too, makes 21 nodes of this network: it turns the last pictures back into TensorFlow's order
(Transpose), works out the batch size to flatten them (Shape, Gather, Cast, Slice, Concat, Reshape), and leaves each
dense layer in two. Here the weights of the first dense layer are put into the order in which ONNX's convolution leaves
the pictures, once and for all, and 12 nodes remain.

Measured with one row, ONNX Runtime 1.32, one thread, on a machine shared with others, medians of 2700 runs: 81 us
against 86, and in a busier round 91 against 97. Pooling before Relu, which looks cheaper, came to 83 and 96: ONNX
Runtime then cannot run convolution and Relu as one.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import platform
import struct
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
# One definition of the network and one reader of the data for both: the demo model is the tutorial's.
sys.path.insert(0, str(ROOT / "examples" / "mnist"))

from digits import Digits, TutorialError, pixels, read_train_and_test  # noqa: E402
from model import at_least_one, download, repeatable, train  # noqa: E402

BATCH_SIZE = 128
MIN_ACCURACY = 0.985
MAX_DIFFERENCE = 1e-5
MAX_MODEL_BYTES = 1_000_000
MAX_SAMPLE_BYTES = 100_000
SAMPLES_PER_DIGIT = 20

# Old enough for every ONNX Runtime since 1.12, and all that these operators need.
OPSET = 17
IR_VERSION = 8

PROVENANCE = """\
# Where the demo model and its digits come from

Written by `scripts/train_demo_model.py`; run it again rather than edit this page.

## The model: `digits/1/model.onnx`

- What it does: reads a handwritten digit. `image`: float [?,28,28,1], 0 for paper to 1 for ink; `probabilities`: float
  [?,10], one for each digit.
- Network: that of `examples/mnist`. Conv 64 3x3 relu, max pool 2x2, conv 32 3x3 relu, max pool 2x2, flatten, dense 50
  relu, (dropout 0.5,) dense 10 softmax; {parameters:,} parameters, float32.
- Training: Adam, crossentropy, {epochs} epochs, batches of {batch_size}, seed {seed}, {trained_on:,} training images.
- Command: `python scripts/train_demo_model.py --data mnist.npz --epochs {epochs} --seed {seed}`
- Made with: {versions},
  on {machine}. A second run on the same machine gave the same bytes; other versions and processors give slightly
  different weights.
- Graph: ONNX opset {opset}, IR version {ir_version}, {model_size:,} bytes, SHA-256
  `{model_sha256}`.
- Accuracy, through ONNX Runtime: {right:,} of MNIST's {total:,} test images ({accuracy:.2%});
  {right_in_sample} of the {sample_total} images bundled here.
- Agreement with Keras, over all test images: no probability differs by more than {difference:.1e}.
- Terms: Apache License 2.0, as the rest of this project.

## The digits: `mnist_sample.npz`

- What they are: {sample_total} images of MNIST's test set and what they show. `images`: uint8 [{sample_total},28,28],
  0 for paper to 255 for ink; `labels`: uint8 [{sample_total}]. The first {per_digit} of each digit, in the test set's
  order; the first four are the test set's first four. Nothing is changed about them.
- Source: the MNIST database of handwritten digits by Yann LeCun, Corinna Cortes and Christopher J.C. Burges,
  <http://yann.lecun.com/exdb/mnist/>, drawn from databases of NIST. The `mnist.npz` that Keras offers holds the
  same arrays.
- Terms: Yann LeCun and Corinna Cortes hold the copyright of MNIST; it is available under the Creative Commons
  Attribution-ShareAlike 3.0 licence, <https://creativecommons.org/licenses/by-sa/3.0/>. `mnist_sample.npz` stands
  under that licence, not under this project's own.

## The data, to the byte

SHA-256 of each array as the unpacked file in which MNIST was published:

| array | file | SHA-256 |
| --- | --- | --- |
| `x_train` | `train-images-idx3-ubyte` | `{x_train}` |
| `y_train` | `train-labels-idx1-ubyte` | `{y_train}` |
| `x_test` | `t10k-images-idx3-ubyte` | `{x_test}` |
| `y_test` | `t10k-labels-idx1-ubyte` | `{y_test}` |
"""


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured of the finished graph.

    Attributes:
        right: Test images that it reads right, of `total`.
        right_in_sample: The same for the bundled images, of `sample_total`.
        difference: The greatest difference of a probability from Keras's, over the test images.
    """

    right: int
    total: int
    right_in_sample: int
    sample_total: int
    difference: float

    @property
    def accuracy(self) -> float:
        """The share of the test images that it reads right."""
        return self.right / self.total


def onnx_graph(weights: list[NDArray[np.float32]]) -> onnx.ModelProto:
    """The network with its weights: `image` float [batch,28,28,1] in, `probabilities` float [batch,10] out.

    Args:
        weights: Kernel and bias of each layer in Keras's order: [3,3,1,64], [64], [3,3,64,32], [32], [800,50], [50],
            [50,10], [10].
    """
    kernel_1, bias_1, kernel_2, bias_2, dense_1, dense_bias_1, dense_2, dense_bias_2 = weights
    height_width_channels = (5, 5, kernel_2.shape[-1])
    constants = {
        # With one channel, [batch,28,28,1] and [batch,1,28,28] are the same bytes. 0 stands for the batch, so that
        # an empty one passes too.
        "channels_first": np.array([0, 1, 28, 28], np.int64),
        "kernel_1": kernel_1.transpose(3, 2, 0, 1),
        "bias_1": bias_1,
        "kernel_2": kernel_2.transpose(3, 2, 0, 1),
        "bias_2": bias_2,
        "dense_1": dense_1.reshape(*height_width_channels, -1).transpose(2, 0, 1, 3).reshape(dense_1.shape),
        "dense_bias_1": dense_bias_1,
        "dense_2": dense_2,
        "dense_bias_2": dense_bias_2,
    }
    two_by_two = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Reshape", ["image", "channels_first"], ["picture"]),
        helper.make_node("Conv", ["picture", "kernel_1", "bias_1"], ["conv_1"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv_1"], ["relu_1"]),
        helper.make_node("MaxPool", ["relu_1"], ["pool_1"], **two_by_two),
        helper.make_node("Conv", ["pool_1", "kernel_2", "bias_2"], ["conv_2"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv_2"], ["relu_2"]),
        helper.make_node("MaxPool", ["relu_2"], ["pool_2"], **two_by_two),
        helper.make_node("Flatten", ["pool_2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense_1", "dense_bias_1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["relu_3"]),
        helper.make_node("Gemm", ["relu_3", "dense_2", "dense_bias_2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        inputs=[helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 28, 28, 1])],
        outputs=[helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in constants.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hotserve",
        doc_string="Reads handwritten digits. Trained on MNIST; see PROVENANCE.md.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def sample_of(test: Digits) -> Digits:
    """The first 20 of each digit, in the test set's order."""
    places = np.sort(np.concatenate([np.flatnonzero(test.labels == d)[:SAMPLES_PER_DIGIT] for d in range(10)]))
    return Digits(test.images[places], test.labels[places])


def measure(model: keras.Model, graph: onnx.ModelProto, test: Digits, sample: Digits) -> Results:
    """Compares the graph with the labels and with Keras, through ONNX Runtime."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        (probabilities,) = session.run(["probabilities"], {"image": pixels(images)})
        return np.asarray(probabilities)

    # In parts: the first layer's output for all test images at once would be 1.7 GB.
    parts = np.split(test.images, range(1000, len(test.images), 1000))
    answers = np.concatenate([run(part) for part in parts])
    expected = model.predict(pixels(test.images), verbose=0)
    return Results(
        right=int((answers.argmax(axis=1) == test.labels).sum()),
        total=len(test.labels),
        right_in_sample=int((run(sample.images).argmax(axis=1) == sample.labels).sum()),
        sample_total=len(sample.labels),
        difference=float(np.abs(answers - expected).max()),
    )


def require(good: bool, expected: str, got: float) -> None:
    """Ends the program if what it made is not good enough to be bundled; nothing has been written by then.

    Raises:
        SystemExit: It is not.
    """
    if not good:
        raise SystemExit(
            f"train_demo_model.py: expected {expected}, got {got}; nothing was written. "
            "Train longer (--epochs), or from another start (--seed)."
        )


def idx_sha256(array: NDArray[Any]) -> str:
    """SHA-256 of the array as the file that MNIST was published as (unpacked): IDX, big endian header, bytes."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return hashlib.sha256(header + array.astype(np.uint8).tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a mnist.npz to use; without it, Keras downloads MNIST once")
    parser.add_argument("--epochs", type=at_least_one, default=10, help="rounds over the training data (10)")
    parser.add_argument("--seed", type=int, default=1, help="where the random numbers start (1)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "src" / "hotserve" / "demo", help="folder to write to (the package's)"
    )
    args = parser.parse_args()

    repeatable(args.seed)
    try:
        train_part, test_part = download() if args.data is None else read_train_and_test(args.data)
    except TutorialError as error:
        raise SystemExit(f"train_demo_model.py: {error}") from error
    model, _ = train(train_part, test_part, args.epochs, BATCH_SIZE)
    sample = sample_of(test_part)
    graph = onnx_graph(model.get_weights())
    results = measure(model, graph, test_part, sample)
    print(results)

    model_bytes = graph.SerializeToString(deterministic=True)
    sample_file = io.BytesIO()
    np.savez_compressed(sample_file, images=sample.images, labels=sample.labels)
    sample_bytes = sample_file.getvalue()
    require(results.accuracy >= MIN_ACCURACY, f"an accuracy of {MIN_ACCURACY} or more", results.accuracy)
    require(results.difference <= MAX_DIFFERENCE, f"Keras's answers to {MAX_DIFFERENCE}", results.difference)
    require(len(model_bytes) < MAX_MODEL_BYTES, f"a model below {MAX_MODEL_BYTES} bytes", len(model_bytes))
    require(len(sample_bytes) < MAX_SAMPLE_BYTES, f"a sample below {MAX_SAMPLE_BYTES} bytes", len(sample_bytes))

    provenance = PROVENANCE.format(
        **asdict(results),
        accuracy=results.accuracy,
        parameters=model.count_params(),
        epochs=args.epochs,
        batch_size=BATCH_SIZE,
        seed=args.seed,
        trained_on=len(train_part.labels),
        versions=f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy", "onnx", "onnxruntime")),
        machine=platform.machine(),
        opset=OPSET,
        ir_version=IR_VERSION,
        model_size=len(model_bytes),
        model_sha256=hashlib.sha256(model_bytes).hexdigest(),
        per_digit=SAMPLES_PER_DIGIT,
        x_train=idx_sha256(train_part.images),
        y_train=idx_sha256(train_part.labels),
        x_test=idx_sha256(test_part.images),
        y_test=idx_sha256(test_part.labels),
    )
    version_folder = args.output / "digits" / "1"
    version_folder.mkdir(parents=True, exist_ok=True)
    (version_folder / "model.onnx").write_bytes(model_bytes)
    (args.output / "mnist_sample.npz").write_bytes(sample_bytes)
    (args.output / "PROVENANCE.md").write_text(provenance, encoding="utf-8")
    print(f"Wrote the model, the digits and PROVENANCE.md in {args.output}")


if __name__ == "__main__":
    main()

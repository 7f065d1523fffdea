"""Records of requests, as TensorFlow Serving's own messages, and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from hotserve.codecs.tfrecord import frame

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")


def predict_log(inputs: Mapping[str, Any], signature: str = "") -> prediction_log_pb2.PredictionLog:
    """A predict request with these inputs; numbers become float."""
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "whatever"
    request.model_spec.version.value = 99
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        array = np.asarray(value)
        request.inputs[name].CopyFrom(
            tf.make_tensor_proto(array.astype(np.float32) if array.dtype.kind in "fi" else array)
        )
    return log


def write_records(file: Path, records: Iterable[Any]) -> None:
    """Writes messages, or bytes as they are, as a TFRecord file; makes its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(
        b"".join(frame(record if isinstance(record, bytes) else record.SerializeToString()) for record in records)
    )


def read_records(file: Path) -> list[Any]:
    """The records of a file, as TensorFlow reads them."""
    records = tf.data.TFRecordDataset(str(file))
    return [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]

"""The Predict requests of a version's warm-up file, and the answers that were recorded with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from hotserve.codecs.tensor_proto import decode_tensor
from hotserve.codecs.tfrecord import CorruptRecord, read_records
from hotserve.errors import ServingError
from hotserve.protos.messages import PredictionLog
from hotserve.tensors import DEFAULT_SIGNATURE, Array, Signature

logger = logging.getLogger(__name__)

WARMUP_FILE: Final = Path("assets.extra", "tf_serving_warmup_requests")
"""Where the file is, within a version folder."""

MAX_SAMPLES: Final = 20
"""How many requests are looked at for each signature."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A recorded request.

    Attributes:
        inputs: Input alias -> array.
        outputs: Output alias -> array, where the answer was recorded; otherwise empty.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def read_samples(path: Path, signatures: Mapping[str, Signature]) -> Mapping[str, Sequence[Sample]]:
    """Reads the recorded requests that fit a signature; what cannot be read is left out.

    Args:
        path: The version folder.
        signatures: Signature name -> signature.

    Returns:
        Signature name -> the first `MAX_SAMPLES` requests for it.
    """
    samples: dict[str, list[Sample]] = {}
    try:
        with (path / WARMUP_FILE).open("rb") as file:
            for payload in read_records(file):
                log = PredictionLog.FromString(payload)
                if log.WhichOneof("log_type") != "predict_log":
                    continue
                request, response = log.predict_log.request, log.predict_log.response
                name = request.model_spec.signature_name or DEFAULT_SIGNATURE
                signature = signatures.get(name)
                kept = samples.setdefault(name, [])
                if signature is None or len(kept) >= MAX_SAMPLES:
                    continue
                inputs = {alias: decode_tensor(tensor) for alias, tensor in request.inputs.items()}
                outputs = {alias: decode_tensor(tensor) for alias, tensor in response.outputs.items()}
                fits = inputs.keys() == signature.inputs.keys() and all(
                    array.dtype == signature.inputs[alias].dtype.numpy for alias, array in inputs.items()
                )
                if fits:
                    kept.append(Sample(inputs, outputs))
    except FileNotFoundError:
        return {}
    except (OSError, CorruptRecord, DecodeError, ServingError, ValueError, KeyError) as error:
        logger.info("Recorded requests of %s are used as far as they can be read: %s", path, error)
    return samples

"""Files with what to send: JSON bodies, numpy's files, messages, and records of requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from hotserve.codecs.json_recording import VERBS, record_of
from hotserve.codecs.npy import read_npy, read_npz
from hotserve.codecs.prediction_log import JSON_LINES_SUFFIX, read_log
from hotserve.codecs.prediction_log_json import parse_json_line
from hotserve.codecs.tfrecord import CorruptRecord, read_records
from hotserve.errors import InvalidArgument, NotFound, ServingError
from hotserve.loadgen.bodies import Format, RequestMaker, check_inputs
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.target import Wire
from hotserve.protos.messages import PredictRequest
from hotserve.tensors import DEFAULT_SIGNATURE, Signature

MAX_REQUESTS: Final = 1000
"""So many requests of a file are sent, in turns; more are left out."""

_MAX_BYTES: Final = 1 << 30
_RECORD_FIELDS: Final = frozenset({"predict_log", "classify_log", "regress_log", "multi_inference_log", "log_metadata"})

Signatures = Callable[[], Mapping[str, Signature]]
"""Asks the server for the model's signatures; called only where they are needed."""


def read_data(
    file: Path, maker: RequestMaker, signatures: Signatures, signature_name: str = "", verb: str = "predict"
) -> Sequence[Request]:
    """Reads requests.

    The name of the file tells its kind: `.json` is the body of a REST request, `.jsonl` has one a line, or a record of
    a request log; `.npy` is the only input of the signature, `.npz` all of them by name. Any other name is that of a
    TFRecord file of records (a warm-up file, a request log) or of one serialized PredictRequest.

    Args:
        file: The file.
        maker: Makes requests for the model under load.
        signatures: Tells the dtypes of JSON where it has to become messages, and the names of inputs.
        signature_name: The signature that arrays are for; empty for the default one.
        verb: What JSON bodies are posted to: `predict`, `classify` or `regress`.

    Raises:
        NotFound: There is no such file, or no such signature.
        ServingError: It cannot be read, or is nothing of this kind.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InvalidArgument(f"{file} is larger than 1 GiB.")
        requests = list(islice(_requests(file, maker, signatures, signature_name, verb), MAX_REQUESTS))
    except FileNotFoundError as error:
        raise NotFound(f"{file}: {error.strerror}. Expected a file with requests.") from error
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}.") from error
    except (ServingError, DecodeError) as error:
        text = error.message if isinstance(error, ServingError) else str(error)
        raise InvalidArgument(text if text.startswith(str(file)) else f"{file}: {text}") from error
    if not requests:
        raise InvalidArgument(f"{file} has no requests.")
    return requests


def signature_in(signatures: Mapping[str, Signature], name: str) -> Signature:
    """The signature of a name; an empty one is that of the default.

    Raises:
        NotFound: There is none.
    """
    signature = signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise NotFound(
            f"The model has no signature {name or DEFAULT_SIGNATURE}. Give --signature, one of:"
            f" {', '.join(sorted(signatures)) or 'none'}."
        )
    return signature


def _requests(
    file: Path, maker: RequestMaker, signatures: Signatures, signature_name: str, verb: str
) -> Iterable[Request]:
    match file.suffix:
        case ".json":
            yield _of_json(file.read_bytes(), maker, signatures, verb)
        case suffix if suffix == JSON_LINES_SUFFIX:
            yield from _of_lines(file, maker, signatures, verb)
        case ".npy" | ".npz" as suffix:
            data = file.read_bytes()
            arrays = read_npy(data) if suffix == ".npy" else read_npz(data, _MAX_BYTES)
            signature = signature_in(signatures(), signature_name)
            yield maker.of_inputs(check_inputs(arrays, signature, signature_name), signature_name, signature)
        case _ if _is_tfrecord(file):
            yield from map(maker.of_log, read_log(file))
        case _:
            yield maker.of_message(_message(file))


def _of_json(body: bytes, maker: RequestMaker, signatures: Signatures, verb: str) -> Request:
    if verb not in VERBS:
        raise InvalidArgument(f"There are no {verb} requests. Expected one of {', '.join(VERBS)}.")
    if maker.target.wire is Wire.REST and maker.form is Format.JSON:
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"This is no JSON: {error}.") from error
        return maker.of_json(body, verb)
    return maker.of_log(record_of(verb, body, maker.model.name, signatures()))


def _of_lines(file: Path, maker: RequestMaker, signatures: Signatures, verb: str) -> Iterable[Request]:
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            is_record = isinstance(document, dict) and bool(_RECORD_FIELDS & document.keys())
            if is_record:
                yield maker.of_log(parse_json_line(line))
            else:
                yield _of_json(line, maker, signatures, verb)
        except (ServingError, ValueError, RecursionError) as error:
            text = error.message if isinstance(error, ServingError) else f"this is no JSON: {error}."
            raise InvalidArgument(f"{file}, line {number}: {text}") from error


def _is_tfrecord(file: Path) -> bool:
    with file.open("rb") as stream:
        try:
            return next(read_records(stream), None) is not None
        except CorruptRecord as error:
            # The length of the first record has its checksum: whatever follows, it is no file of another kind.
            return error.offset > 0


def _message(file: Path) -> PredictRequest:
    try:
        message = PredictRequest.FromString(file.read_bytes())
    except DecodeError as error:
        raise InvalidArgument(
            "Expected a .json, .jsonl, .npy or .npz file, a TFRecord file of PredictionLog messages, or a serialized"
            " PredictRequest."
        ) from error
    if not message.inputs:
        raise InvalidArgument("This is a PredictRequest without inputs, or a file of another kind.")
    return message

"""The platform tensorflow: SavedModels, run by TensorFlow itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hotserve.background import give_way
from hotserve.codecs.signature_def import signature_from_proto
from hotserve.core.servable import Servable
from hotserve.errors import InvalidArgument, ServingError
from hotserve.platforms.memory import release_memory
from hotserve.platforms.operation_packages import advice_on, unknown_operation
from hotserve.platforms.saved_model_config import apply_saved_model_config
from hotserve.platforms.saved_model_files import tag_sets
from hotserve.platforms.tensorflow_c_api import CApi, c_api
from hotserve.platforms.tensorflow_session import (
    Call,
    Endpoint,
    SavedModelSession,
    session_config,
    start_shared_threads,
)
from hotserve.platforms.wire_format import WireError
from hotserve.protos.messages import ConfigProto, SignatureDef, TensorInfo
from hotserve.tensors import NUMPY_OF, Array, DType, Signature, dtype_of_array

logger = logging.getLogger(__name__)

DEFAULT_TAGS = ("serve",)

_NO_META_GRAPH = "Could not find meta graph def matching supplied tags"

_STRING_KINDS = "OSU"  # numpy's kinds of arrays that hold strings

_MAX_CALLS = 64
"""How many sets of outputs of one signature are prepared. A session keeps an executor for every set that it has run,
for ever; clients choose the sets."""


class TensorFlowLoader:
    """Loads SavedModels."""

    def __init__(self, tags: Collection[str] = DEFAULT_TAGS, config: ConfigProto | None = None) -> None:
        """Makes a loader.

        Args:
            tags: The tags of the meta graph that is loaded: the one that has these and no other.
            config: Options of the sessions; see `session_config` for what it leaves unset. All models share the threads
                within operations of the first one that loads.
        """
        self._tags = tuple(sorted(set(tags)))
        self._config = config

    def load(self, path: Path) -> Servable:
        config = session_config(self._config)
        apply_saved_model_config(path, config)
        api = c_api()
        if start_shared_threads(api, config):
            give_way()
        try:
            session = SavedModelSession(api, path, self._tags, config)
        except ServingError as error:
            raise self._explained(error, path, api) from error
        try:
            return TensorFlowServable(session, self._tags)
        except BaseException:
            session.close()
            raise

    def _explained(self, error: ServingError, path: Path, api: CApi) -> ServingError:
        """The same error, with what to do about it, where that is known."""
        operation = unknown_operation(error.message)
        if operation is not None:
            return type(error)(f"{error.message} {advice_on(operation, api.version)}", error.code)
        if _NO_META_GRAPH in error.message:
            return type(error)(f"{error.message.rstrip()}. {_tags_that_are_there(path)}", error.code)
        return error


class TensorFlowServable:
    """A SavedModel in a session."""

    runtime = "TF1"

    def __init__(self, session: SavedModelSession, tags: Sequence[str] = DEFAULT_TAGS) -> None:
        """Takes the session over, to be closed by `unload`.

        Args:
            session: The loaded meta graph.
            tags: Its tags.

        Raises:
            InvalidArgument: A signature cannot be read.
        """
        self._session = session
        self._tags = tuple(tags)
        self._callables: dict[str, _Callable] = {}
        signatures: dict[str, Signature] = {}
        for name, serialized in session.signature_defs.items():
            signatures[name] = signature_from_proto(serialized)
            self._callables[name] = _Callable(name, SignatureDef.FromString(serialized), session)
        self._signatures = MappingProxyType(signatures)

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._signatures

    @property
    def saved_model_tags(self) -> tuple[str, ...]:
        """See `core.servable.saved_model_tags`."""
        return self._tags

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        return self._callables[signature_name].run(inputs, outputs)

    def unload(self) -> None:
        give_way()
        self._session.close()
        release_memory()


class _Callable:
    """One signature, with a prepared call for each set of outputs that was wanted so far.

    `_lock` guards `_calls`, which is only added to.
    """

    def __init__(self, name: str, signature: SignatureDef, session: SavedModelSession) -> None:
        self._name = name
        self._session = session
        self._feeds, problem = self._resolve("input", signature.inputs)
        self._fetches, output_problem = self._resolve("output", signature.outputs)
        self._problem = problem or output_problem
        self._ranks = _declared_ranks(signature) if session.is_rank_sensitive else {}
        self._calls: dict[tuple[str, ...], Call] = {}
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """See `Servable.run`."""
        if self._problem:
            raise InvalidArgument(self._problem)
        values = [self._checked(alias, feed, inputs[alias]) for alias, feed in self._feeds.items()]
        aliases = tuple(outputs)
        call = self._calls.get(aliases)
        if call is None:
            aliases, call = self._prepare(aliases)
        results = dict(zip(aliases, self._session.run(call, values), strict=True))
        return {alias: results[alias] for alias in outputs}

    def _prepare(self, aliases: tuple[str, ...]) -> tuple[tuple[str, ...], Call]:
        """The call for a set of outputs, or for all outputs when too many sets have been asked for."""
        with self._lock:
            if len(self._calls) >= _MAX_CALLS:
                aliases = tuple(self._fetches)
            call = self._calls.get(aliases)
            if call is None:
                call = Call(tuple(self._feeds.values()), [self._fetches[alias] for alias in aliases])
                self._calls[aliases] = call
            return aliases, call

    def _checked(self, alias: str, feed: Endpoint, value: Array) -> Array:
        """The array, if it is of the type that the graph takes: a signature may declare another."""
        is_string = feed.dtype is DType.STRING
        if is_string != (value.dtype.kind in _STRING_KINDS) or not (
            is_string or value.dtype == NUMPY_OF.get(feed.dtype)
        ):
            raise InvalidArgument(
                f"Expects arg[{list(self._feeds).index(alias)}] to be {feed.dtype.label} but"
                f" {dtype_of_array(value).label} is provided. The signature {self._name} declares input {alias}"
                f" otherwise than the graph's {feed.name}; export the model again."
            )
        if self._ranks.get(alias, value.ndim) != value.ndim:
            raise InvalidArgument(
                f"Input {alias} has {value.ndim} dimensions, where the signature declares {self._ranks[alias]}. In a"
                " graph with convolutions or poolings that binds."
            )
        return value

    def _resolve(self, kind: str, infos: Mapping[str, TensorInfo]) -> tuple[Mapping[str, Endpoint], str]:
        """The graph's tensors for a signature's aliases, sorted; and why the signature cannot be called, if so."""
        found: dict[str, Endpoint] = {}
        for alias in sorted(infos):
            encoding = infos[alias].WhichOneof("encoding")
            if encoding != "name":
                what = {"coo_sparse": "a sparse tensor", "composite_tensor": "a composite tensor"}.get(
                    encoding or "", "a tensor without a name"
                )
                return found, (
                    f"Signature {self._name} cannot be called: its {kind} {alias} is {what}, and only dense tensors can"
                    " be sent. Export a signature that takes and gives dense tensors."
                )
            try:
                found[alias] = self._session.find(infos[alias].name)
            except ServingError as error:
                return (
                    found,
                    f"Signature {self._name} cannot be called: its {kind} {alias} is no tensor: {error.message}.",
                )
        return found, ""


def _tags_that_are_there(path: Path) -> str:
    """The tag sets of a SavedModel, in a sentence, and the flag that chooses one."""
    try:
        found = tag_sets(path)
    except (OSError, WireError) as error:
        return f"The meta graphs that are there cannot be read: {error}."
    listed = ", ".join(f"{{ {', '.join(sorted(tags))} }}" for tags in found)
    return f"Tag sets in this SavedModel: {listed or 'none'}. --saved_model_tags chooses one, such as {_flag(found)}."


def _flag(found: Sequence[frozenset[str]]) -> str:
    tags = next((tags for tags in found if tags), frozenset(DEFAULT_TAGS))
    return f"--saved_model_tags={','.join(sorted(tags))}"


def _declared_ranks(signature: SignatureDef) -> Mapping[str, int]:
    """The number of dimensions of each input, where the signature knows it."""
    return {
        alias: len(info.tensor_shape.dim)
        for alias, info in signature.inputs.items()
        if info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    }

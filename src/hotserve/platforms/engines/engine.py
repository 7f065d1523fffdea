"""What another engine is: it compiles a signature that has been converted, and runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from hotserve.tensors import Array, Signature

TENSORFLOW: Final = "tensorflow"
ONNXRUNTIME: Final = "onnxruntime"
OPENVINO: Final = "openvino"
AUTO: Final = "auto"

CHOICES: Final = (AUTO, TENSORFLOW, OPENVINO, ONNXRUNTIME)
"""What `--engine` may say."""

MAX_CACHE_BYTES: Final = 1 << 32
"""What all that is kept about engines may have together, unless it is said otherwise."""

CHECK_SECONDS: Final = 600.0
"""How long an examination may take, unless it is said otherwise."""


class Runner(Protocol):
    """One signature, compiled. Any thread may run it."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Runs it; see `Servable.run`.

        Raises:
            ServingError: The engine refuses.
        """
        ...


class Engine(Protocol):
    """An engine, installed."""

    @property
    def name(self) -> str:
        """One of the names above."""
        ...

    @property
    def version(self) -> str:
        """Its version. Answers and compiled files are those of one version."""
        ...

    def compile(self, base: Path, signature: Signature, threads: int) -> Runner:
        """Compiles a converted signature.

        Args:
            base: The path of its files, without what tells their kind.
            signature: What it takes and gives.
            threads: How many threads one run may use; 0 chooses by the size of the model.

        Raises:
            ServingError: The engine cannot run it; or its inputs and outputs are not those of the signature.
        """
        ...

    def settle(self, runner: Runner, inputs: Mapping[str, Array]) -> None:
        """Gives back what larger runs than that of these inputs have taken; nothing where they are refused."""
        ...

    def keep(self, runner: Runner, base: Path) -> None:
        """Leaves beside the converted files what makes `restore` quick, if anything does."""
        ...

    def restore(self, base: Path, signature: Signature, threads: int) -> Runner:
        """As `compile`, from what `keep` has left."""
        ...

    def files(self, base: Path) -> Sequence[Path]:
        """The files that `restore` needs."""
        ...


@runtime_checkable
class ReadsSavedModels(Protocol):
    """What an engine also is that reads the folder of a SavedModel by itself."""

    def compile_folder(self, path: Path, signature: Signature, threads: int) -> Runner:
        """Compiles the default signature of a SavedModel.

        Args:
            path: The version folder.
            signature: What it takes and gives.
            threads: As for `Engine.compile`.

        Raises:
            ServingError: As `Engine.compile`.
        """
        ...

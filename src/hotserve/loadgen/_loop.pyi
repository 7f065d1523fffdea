from collections.abc import Sequence

from numpy import int64
from numpy.typing import NDArray

from hotserve.loadgen.compiled_loop import Reader

REVISION: int

def http1_answer(data: bytes) -> tuple[int, int, int]: ...

class Loop:
    def __init__(
        self,
        poller: int,
        parts: Sequence[bytes],
        reader: Reader,
        measured_from: int,
        timeout: int,
        most: int,
        is_judged: bool,
    ) -> None: ...
    @property
    def begun(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def turn(self) -> int: ...
    @property
    def under_way(self) -> int: ...
    def take_http1(self, file: int) -> None: ...
    def take_calls(
        self,
        file: int,
        window: int,
        first_window: int,
        max_frame: int,
        most: int,
        first_block: bytes,
        later_block: bytes,
        received: bytes,
    ) -> None: ...
    def give_back(self, file: int) -> tuple[int, int, int, int]: ...
    def results(self) -> tuple[bytes, bytes, bytes, bytes]: ...
    def run(self, until: int, end: int, left: int, dues: NDArray[int64] | None = None) -> list[int]: ...

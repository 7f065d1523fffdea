from hotserve.codecs.compiled import Values
from hotserve.tensors import Array

REVISION: int

def read_values(data: bytes) -> Values | None: ...
def nested_texts(array: Array, code: str, digits: int, by_row: bool) -> list[str]: ...

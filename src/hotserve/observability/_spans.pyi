from hotserve.observability.instruments import HistogramCell

REVISION: int

def observe_spans(
    begins: list[float], ends: list[float] | float, cells: tuple[HistogramCell | None, ...], limits: tuple[float, ...]
) -> None: ...

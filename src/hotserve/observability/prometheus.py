"""The text that Prometheus scrapes, in TensorFlow Serving's form of it.

Source: PrometheusExporter in tensorflow_serving/util/prometheus_exporter.cc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from hotserve.observability.instruments import Counter, Gauge, Histogram, Instrument

CONTENT_TYPE = "text/plain"
DEFAULT_PATH = "/monitoring/prometheus/metrics"

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9]")


def render(metrics: Iterable[Instrument]) -> bytes:
    """All metrics, sorted by internal name; a metric without cells prints its TYPE line only."""
    return page(parts(metrics))


def parts(metrics: Iterable[Instrument]) -> Iterator[str]:
    """What `render` gives, in pieces of a few lines, for whoever has something else to do in between."""
    for metric in sorted(metrics, key=lambda metric: metric.name):
        name = exported_name(metric.name)
        yield f"# TYPE {name} {metric.kind}"
        yield from _histogram(name, metric) if isinstance(metric, Histogram) else _scalar(name, metric)


def page(pieces: Iterable[str]) -> bytes:
    """The page that these pieces make."""
    return ("\n".join(pieces) + "\n").encode("utf-8", "replace")


def exported_name(internal: str) -> str:
    """`/tensorflow/serving/x` as `:tensorflow:serving:x`; a leading digit gets a `_` before it."""
    name = _NOT_IN_NAMES.sub(":", internal)
    return f"_{name}" if name[:1].isdigit() else name


def label_name(internal: str) -> str:
    """A label's name, with `_` for what may not stand in one."""
    name = _NOT_IN_LABELS.sub("_", internal)
    return f"_{name}" if name[:1].isdigit() else name


def label_value(value: str) -> str:
    """A label's value, escaped; the original leaves newlines as they are, which breaks the page, so we do not."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{label_name(name)}="{label_value(value)}"' for name, value in zip(names, values, strict=True))


def _scalar(name: str, metric: Counter | Gauge) -> Iterator[str]:
    for values, number in metric.cells():
        # Integers as they are; what is none, with all its digits: a time in seconds has ten before the point.
        text = str(int(number)) if float(number).is_integer() else repr(number)
        yield f"{name}{{{_labels(metric.labels, values)}}} {text}"


def _histogram(name: str, metric: Histogram) -> Iterator[str]:
    limits = [f'le="{limit:g}"}} ' for limit in metric.limits] + ['le="+Inf"} ']
    for values, cell in metric.cells():
        labels = _labels(metric.labels, values)
        start = f"{name}_bucket{{{labels}{',' if labels else ''}"
        counts = list(accumulate(cell.counts))
        lines = [f"{start}{limit}{count}" for limit, count in zip(limits, counts, strict=True)]
        lines.append(f"{name}_sum{{{labels}}} {cell.total:g}")
        lines.append(f"{name}_count{{{labels}}} {counts[-1]}")
        yield "\n".join(lines)

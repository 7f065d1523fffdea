"""The plots of docs/performance.md, as SVG for light and for dark pages.

Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart, without the yellow,
which is hard to see on white; where there are more lines than colours, markers and dashes differ as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peer_report import Figures, rate_latency, rate_of

_TITLES = {
    "half_plus_two": "half_plus_two",
    "digits": "digits, a small CNN",
    "transformer": "transformer, 4 layers",
    "convnet": "CNN of ResNet-50's size",
}

_COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#999999")
_MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
_DASHES = ("-", "--", ":")


@dataclass(frozen=True, slots=True)
class _Theme:
    """What a page looks like.

    Attributes:
        suffix: Of the name of a plot's file.
        ink: Of text and axes.
        own: Of hotserve's bars.
        others: Of all others' bars.
    """

    suffix: str
    ink: str
    own: str
    others: str


_THEMES = (_Theme("", "#24292f", "#0072B2", "#8c959f"), _Theme("-dark", "#d0d7de", "#56B4E9", "#6e7681"))


def write_plots(figures: Figures, folder: Path) -> Sequence[Path]:
    """Writes all plots for which there are figures.

    Args:
        figures: What was measured.
        folder: Where; it is made if it is not there.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for theme in _THEMES:
        plots = {"peers-throughput": _throughput(figures, theme), "peers-start": _starts(figures, theme)}
        if figures.records.rates:
            plots["peers-latency"] = _latency(figures, theme)
        for name, plot in plots.items():
            files.append(folder / f"{name}{theme.suffix}.svg")
            _save(plot, files[-1])
    return files


def _throughput(figures: Figures, theme: _Theme) -> Figure:
    """Requests per second on one core, a panel for each model."""
    stages = figures.stages("one")
    plot = Figure(figsize=(10, 3.4 * ((len(stages) + 1) // 2)), layout="constrained")
    for number, stage in enumerate(stages):
        axes = plot.add_subplot((len(stages) + 1) // 2, min(2, len(stages)), number + 1)
        connections = figures.usual_connections(stage)
        rates = {name: figures.figure(stage, name, connections, rate_of) or 0.0 for name in figures.lines(stage)}
        _bars(axes, rates, theme)
        axes.set_title(f"{_TITLES[stage.model]}: requests/s, connections: {connections}", color=theme.ink, fontsize=10)
    return plot


def _starts(figures: Figures, theme: _Theme) -> Figure:
    """Time to the first right answer, and memory after the load."""
    plot = Figure(figsize=(10, 3.4), layout="constrained")
    titles = [server.title for server in figures.servers]
    seconds = {title: figures.start(title, lambda start: start.ready_seconds) for title in titles}
    memory = {title: figures.start(title, lambda start: start.memory_after / 1e6) for title in titles}
    panels = (("seconds from the start to the first right answer", seconds), ("MB of memory after the load", memory))
    for number, (title, values) in enumerate(panels):
        axes = plot.add_subplot(1, 2, number + 1)
        _bars(axes, {name: value for name, value in values.items() if value is not None}, theme)
        axes.set_title(title, color=theme.ink, fontsize=10)
    return plot


def _latency(figures: Figures, theme: _Theme) -> Figure:
    """The 99th percentile at rates that are the same for all; a line ends where a server no longer keeps up."""
    plot = Figure(figsize=(10, 4.6), layout="constrained")
    axes = plot.add_subplot()
    names = [name for server in figures.servers for name in server.lines if figures.rates(name)]
    for number, name in enumerate(names):
        latencies = {rate: rate_latency(found, "p99") for rate, found in figures.rates(name).items()}
        points = [(rate, latency) for rate, latency in latencies.items() if latency is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                label=name,
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle=_DASHES[number // len(_COLOURS)],
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    rates = sorted({rate.rate for rate in figures.records.rates})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_xlabel("requests/s that are sent", color=theme.ink)
    axes.set_ylabel("99th percentile, ms", color=theme.ink)
    axes.grid(color=theme.others, alpha=0.3)
    _ink(axes, theme)
    plot.legend(loc="outside right upper", labelcolor=theme.ink, frameon=False, fontsize=9)
    return plot


def _bars(axes: Axes, values: Mapping[str, float], theme: _Theme) -> None:
    """Horizontal bars, the first on top, each with its number."""
    colours = [theme.own if name.startswith("hotserve") else theme.others for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colours)
    labels = [f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in values.values()]
    axes.bar_label(bars, labels, padding=3, color=theme.ink, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(values.values(), default=1))
    axes.set_xticks([])
    _ink(axes, theme)


def _ink(axes: Axes, theme: _Theme) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=theme.ink, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.others)


def _save(plot: Figure, file: Path) -> None:
    # Text as text, which search and screen readers find, and the same bytes for the same figures.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": file.name}):
        plot.savefig(file, format="svg", transparent=True, metadata={"Date": None})

"""Writes the figures of docs/performance.md, and its plots, from what `bench_peers.py` has measured.

    python benchmarks/render_performance.py

Reads `benchmarks/results/peers*.json`, all of them as one. Between two comments in the page, `<!-- figures: NAME -->`
and `<!-- end of figures -->`, stands what this program has written; the rest of the page is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from peer_plots import write_plots
from peer_report import Figures, figures, load_table, notes, rates_table, read_results, servers_table, starts_table
from peer_runs import Stage

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "benchmarks" / "results"

_BLOCK = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def rendered(page: str, all_of_it: Figures) -> str:
    """The page with these figures.

    Raises:
        ValueError: The page asks for figures that there are not.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{_block(match[2], all_of_it)}\n\n{match[3]}", page)


def _block(name: str, all_of_it: Figures) -> str:
    tables = {"rates": rates_table, "starts": starts_table, "servers": servers_table, "notes": notes}
    if name in tables:
        return tables[name](all_of_it)
    cores, _, model = name.partition("/")
    stage = Stage(cores, model)
    if stage not in all_of_it.stages(cores):
        raise ValueError(f"The page asks for the figures {name!r}; expected {', '.join(tables)} or CORES/MODEL.")
    return load_table(all_of_it, stage)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "results", type=Path, nargs="*", help="files of bench_peers.py (benchmarks/results/peers*.json)"
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, default=IMAGES)
    options = parser.parse_args(arguments)
    files = options.results or sorted(RESULTS.glob("peers*.json"))
    if not files:
        print(f"Expected results of bench_peers.py in {RESULTS}; found none.", file=sys.stderr)
        return 1
    all_of_it = figures([read_results(file) for file in files])
    try:
        text = rendered(options.page.read_text(encoding="utf-8"), all_of_it)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    options.page.write_text(text, encoding="utf-8")
    for file in [options.page, *write_plots(all_of_it, options.images)]:
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())

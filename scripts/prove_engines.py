"""Proves that other engines answer as TensorFlow does, over the whole zoo of SavedModels of the tests.

    python scripts/prove_engines.py [--cache FOLDER] [--table FILE] [--seconds N] [NAME ...]

starts two servers, one with `--engine=tensorflow` and one with `--engine=auto`, lets the second one choose, and asks
both the same requests: ordinary ones and such at the edges. It prints where they differ, writes a table in Markdown,
and ends with 1 if there is a difference, or if a model has not been chosen for in time. All of it takes about an hour
on two processors; with the same `--cache`, the next time takes minutes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.saved_model_zoo.proof import Proof, export_zoo, exported, prove  # noqa: E402

SECONDS = 3 * 3600.0
"""How long the second server may take to choose, unless it is said otherwise."""

_CHOICE = re.compile(r"(\w+): (tensorflow|openvino|onnxruntime), (?:([\d.]+) times as fast)?")


def table(proofs: Sequence[Proof]) -> str:
    """The proofs, in Markdown."""
    rows = ["| model | engine | speed | requests | refused | largest difference |", "|---|---|---:|---:|---:|---:|"]
    for proof in proofs:
        engines, speeds = _chosen(proof.choice)
        difference = f"{proof.largest_difference:.1g}" if proof.largest_difference else "0"
        if proof.disagreements:
            difference = f"{len(proof.disagreements)} wrong answers"
        rows.append(f"| {proof.model} | {engines} | {speeds} | {proof.requests} | {proof.refused} | {difference} |")
    return "\n".join(rows) + "\n"


def summary(proofs: Sequence[Proof]) -> str:
    """How many models are on which engine, in a sentence."""
    engines = Counter(_chosen(proof.choice)[0] for proof in proofs)
    counted = ", ".join(f"{count} on {engine}" for engine, count in engines.most_common())
    asked = sum(proof.requests for proof in proofs)
    wrong = sum(len(proof.disagreements) for proof in proofs)
    return f"{len(proofs)} models ({counted}), {asked} requests, {wrong} wrong answers."


def _chosen(choice: str) -> tuple[str, str]:
    """The engines of a model and how many times as fast they are, by what the log says of it."""
    found = [entry for entry in _CHOICE.findall(choice) if entry[0] != "__saved_model_init_op"]
    moved = [(engine, speed) for _, engine, speed in found if engine != "tensorflow"]
    if not moved:
        return "tensorflow", ""
    names = sorted({engine for engine, _ in moved})
    if len(moved) < len(found):
        names.append("tensorflow")
    speeds = [float(speed) for _, speed in moved]
    return ", ".join(names), f"{min(speeds):.1f}" if min(speeds) == max(
        speeds
    ) else f"{min(speeds):.1f} to {max(speeds):.1f}"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, help="what is found out is kept here; a temporary folder by default")
    parser.add_argument("--table", type=Path, help="the file that the table is written to; printed by default")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="how long to wait for the choices; what has none then is left out",
    )
    parser.add_argument("names", nargs="*", help="which models; all by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hotserve-zoo-") as name:
        folder = Path(name)
        models = folder / "models"
        models.mkdir()
        export_zoo(models, options.names)
        late = set(exported(models))
        proofs = prove(models, options.cache or folder / "cache", options.seconds)
        late -= {proof.model for proof in proofs}
    for proof in proofs:
        for disagreement in proof.disagreements:
            print(disagreement)
    if options.table:
        options.table.write_text(table(proofs), encoding="utf-8")
    else:
        print(table(proofs))
    print(summary(proofs))
    if late:
        print(f"{len(late)} models were not chosen for in {options.seconds:g} s: {', '.join(sorted(late))}")
    return 1 if late or any(proof.disagreements for proof in proofs) else 0


if __name__ == "__main__":
    sys.exit(main())

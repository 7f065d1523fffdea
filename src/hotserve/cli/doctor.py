"""`hotserve doctor`: is this machine fit to serve, and what becomes of a TensorFlow Serving command line here?"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence

from hotserve.cli.findings import Finding, needs_attention, report_lines
from hotserve.cli.installation import examine_installation
from hotserve.cli.migration import Diagnosis, diagnose
from hotserve.config.options import ServerOptions
from hotserve.errors import ServingError

NEEDS_ATTENTION = 1
"""The exit code where somebody has to look at something."""

WRONG_USAGE = 2
"""The exit code where there is nothing to look at; it is that of argparse, too."""

_EXAMPLES = """\
examples:
  hotserve doctor
  hotserve doctor --from-tfs -- tensorflow_model_server --port=8500 --model_config_file=/models/models.config
  hotserve doctor --from-tfs -- docker run -p 8501:8501 -v "$PWD/m:/models/m" -e MODEL_NAME=m tensorflow/serving

exit code: 0 if all is well, 1 if something needs attention, 2 if the command line could not be read.
"""


def doctor(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    own, words = _split(arguments)
    parser = _parser()
    options = parser.parse_args(own)
    if options.from_tfs and not words:
        parser.error("--from-tfs needs a command line after --")
    if words is not None and not options.from_tfs:
        parser.error("what stands after -- is looked at with --from-tfs only")
    if words is None:
        return _show(tuple(examine_installation(ServerOptions())), None, as_json=options.json)
    try:
        diagnosis = diagnose(words, os.environ)
    except (ServingError, ValueError) as error:
        print(f"hotserve doctor: {getattr(error, 'message', error)}", file=sys.stderr)
        return WRONG_USAGE
    return _show(diagnosis.findings, diagnosis, as_json=options.json)


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str] | None]:
    """What is for the doctor, and what is for it to look at; None where there is no `--`."""
    if "--" not in arguments:
        return arguments, None
    place = list(arguments).index("--")
    return arguments[:place], arguments[place + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hotserve doctor",
        usage="hotserve doctor [--json] [--from-tfs -- COMMAND LINE OF TENSORFLOW SERVING]",
        description="Looks at this installation, or at a command line of TensorFlow Serving; starts nothing.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--from-tfs", action="store_true", help="what becomes here of the command line after --")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    return parser


def _show(findings: Sequence[Finding], diagnosis: Diagnosis | None, *, as_json: bool) -> int:
    number = needs_attention(findings)
    command = shlex.join(diagnosis.command) if diagnosis is not None and diagnosis.command else None
    if as_json:
        print(json.dumps(_document(findings, number, diagnosis is not None, command), indent=1))
        return NEEDS_ATTENTION if number else 0
    for line in list(report_lines(findings))[1:]:
        print(line)
    if command is not None:
        print(f"\nCommand\n  {command}")
    elif diagnosis is not None:
        print("\nThere is no command that does the same; see above.")
    print("\nNothing needs attention." if not number else f"\n{number} of these need{'s' * (number == 1)} attention.")
    return NEEDS_ATTENTION if number else 0


def _document(findings: Sequence[Finding], number: int, with_command: bool, command: str | None) -> dict[str, object]:
    document: dict[str, object] = {
        "attention": number,
        "findings": [
            {"section": f.section, "grade": f.grade.value, "subject": f.subject, "text": f.text} for f in findings
        ],
    }
    if with_command:
        document["command"] = command
    return document

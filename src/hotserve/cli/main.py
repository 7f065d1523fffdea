"""The entry point: finds the command, and turns errors into words and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType

from hotserve.errors import ServingError
from hotserve.server.long_lived import imports_for_good
from hotserve.version import __version__

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "hotserve.cli.serve:serve",
        "demo": "hotserve.cli.demo:demo",
        "warmup": "hotserve.cli.warmup:warmup",
        "replay": "hotserve.cli.replay:replay",
        "bench": "hotserve.cli.bench:bench",
        "inspect": "hotserve.cli.inspect:inspect",
        "tune": "hotserve.cli.tune:tune",
        "config": "hotserve.cli.config:config",
        "doctor": "hotserve.cli.doctor:doctor",
    }
)
"""Command -> the function that does it, imported when it is asked for: `serve` needs none of the others."""

TOOLS = frozenset({"warmup", "replay", "bench", "inspect", "tune", "config", "doctor"})
"""Commands that serve nothing: their errors, their `--help` and their `--version` are their own."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

FAILED = 255
"""The exit code of a start that failed, as TensorFlow Serving has it."""

USAGE = """usage: hotserve COMMAND [--flag=value ...]

commands:
  serve   serve one model (--model_name, --model_base_path) or several (--model_config_file)
  demo    serve a bundled classifier of handwritten digits, and print a request to try
  warmup  write the file of requests that a version runs before it serves (warmup write --help)
  replay  send logged requests to a server again, and compare the answers (replay --help)
  bench   put load on a server, and show how it does (bench --help)
  inspect show what a model is, in a folder or on a server (inspect --help)
  tune    find out ahead of time which engine runs a SavedModel best (tune --help)
  config  show what a model config file means, or what a reload would change (config --help)
  doctor  look at this installation, or at a command line of TensorFlow Serving (doctor --help)

options:
  --version, --help

flags of serve:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """`hotserve`: a command, then its flags; flags alone mean `serve`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["--help"], ["-h"], ["help"]) or not words:
        _print_usage()
        return 0 if words else FAILED
    if words[0] in TOOLS:
        return _run_tool(_command(words[0]), words[1:])
    if _asks_for_version(words):
        print(f"hotserve {__version__}")
        return 0
    name = words.pop(0) if not words[0].startswith("--") else "serve"
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        return fail(f"unknown command: {name}.{meant} Commands: {', '.join(COMMANDS)}.")
    if arguments is not None:
        return run(_command(name), words)
    return run(_only_command(name), words)


def tensorflow_model_server() -> int:
    """`tensorflow_model_server`: TensorFlow Serving's command line, with its default of no REST port.

    What is no flag does not keep it from starting: command lines with remains of old guides have always started.
    """
    words = sys.argv[1:]
    if _asks_for_version(words):
        print(f"TensorFlow ModelServer: hotserve {__version__}")
        print(f"TensorFlow Library: {_tensorflow_version()}")
        return 0
    serve = _only_command("serve")
    from hotserve.config.flags import help_text
    from hotserve.config.options import ServerOptions

    if "--help" in words:
        print(f"usage: tensorflow_model_server [--flag=value ...]\n\n{help_text(ServerOptions(rest_api_port=0))}")
        return FAILED
    return run(lambda flags: serve(flags, ServerOptions(rest_api_port=0), pass_over_unknown=True), words)


def run(command: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    """Runs a command; an error of the user's becomes one line and an exit code."""
    if "--help" in words:
        _print_usage()
        return 0
    try:
        return command(words)
    except ServingError as error:
        return fail(str(error))


def _command(name: str) -> Callable[..., int]:
    module, _, function = COMMANDS[name].partition(":")
    command: Callable[..., int] = getattr(import_module(module), function)
    return command


def _only_command(name: str) -> Callable[..., int]:
    """A command that serves, in a process that does nothing else."""
    # For products of matrices, which nobody here has numpy calculate, it would start a thread for each processor. They
    # look for work in vain while all else is imported: with two processors a start takes a fifth longer.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with imports_for_good():
        return _command(name)


def _print_usage() -> None:
    from hotserve.config.flags import help_text

    print(f"{USAGE}{help_text()}\n")


def _run_tool(tool: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    """Runs a command that prints a report; whoever reads only its beginning (`| head`), or ends it, has seen enough."""
    try:
        code = tool(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be flushed at the exit goes nowhere, without a second error. Source: Python's documentation
        # of SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:  # whoever has pressed Ctrl-C wants no traceback
        return INTERRUPTED
    return code


def fail(message: str) -> int:
    """Says why the start failed, where TensorFlow Serving says it."""
    print(f"Failed to start server. Error: {message}", flush=True)
    # There protobuf's parser has written to stderr by then, and scripts look for its words.
    _, words, rest = message.partition("Error parsing text-format")
    if words:
        print(words + rest, file=sys.stderr, flush=True)
    return FAILED


def _asks_for_version(words: Sequence[str]) -> bool:
    return any(word in ("--version", "--version=true", "--version=1") for word in words)


def _tensorflow_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tensorflow")
    except PackageNotFoundError:
        return "not installed"

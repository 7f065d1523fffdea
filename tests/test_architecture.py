from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hotserve

ROOT = Path(hotserve.__file__).parent

LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {"background", "child_python", "errors", "open_files", "processors", "spared_processor", "tensors", "version"}
    ),
    frozenset({"core"}),
    frozenset({"observability", "codecs", "protos"}),
    frozenset({"sources", "platforms", "batching"}),
    frozenset({"config"}),
    frozenset({"handlers"}),
    frozenset({"api"}),
    frozenset({"wires"}),
    frozenset({"workers"}),
    frozenset({"server"}),
    frozenset({"loadgen"}),  # the other side: clients for load, on the command line and in benchmarks
    frozenset({"demo"}),  # a model and pictures, for the command line only
    frozenset({"cli"}),
    frozenset({"", "__main__", "testing"}),  # the public names, the program, the doubles: nothing here builds on them
)
"""Packages and modules of `hotserve`, from the bottom to the top; imports go to the same layer or further down."""

RANK: Mapping[str, int] = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

IMPORTS_INSIDE_FUNCTIONS: Mapping[tuple[str, str], str] = {
    ("cli.main", "importlib.metadata.PackageNotFoundError"): "for --version only; 10 ms of each start otherwise",
    ("cli.main", "importlib.metadata.version"): "as above",
    ("cli.main", "hotserve.config.flags.help_text"): "imports numpy, which is to be imported as long-lived",
    ("cli.main", "hotserve.config.options.ServerOptions"): "as above",
    ("observability.process_metrics", "importlib.metadata"): "for the first look at the metrics; 10 ms of each start",
    ("server.engine_room", "hotserve.platforms.engines.cache.EngineCache"): "for SavedModels; a tenth of a start",
    ("server.engine_room", "hotserve.platforms.engines.loader.EngineRoom"): "as above",
    ("server.server", "hotserve.server.supervisor.Supervisor"): "for several workers; a twentieth of a start",
    ("server.server", "hotserve.server.supervisor.check_workers"): "as above",
}
"""(module, what it imports) -> why this import cannot stand at the top of the file."""

IMPORTS_BY_NAME: Mapping[str, str] = {
    "": "a public name is imported when it is first asked for",
    "cli.main": "a command is imported when it is asked for",
    "platforms.engines.installed": "an engine is imported when it is first asked for",
    "platforms.registry": "a platform is imported when its first version loads",
    "platforms.operation_libraries": "users name packages with operations of their own",
}
"""The modules that import others by a name that is data -> why."""

STARTS_WORK: Mapping[str, str] = {
    "background": "loads and unloads, for whoever manages versions",
    "core.manager": "tries failed loads again, each after a timer",
    "batching.scheduler": "runs servables",
    "api.codec_threads": "reads and writes large messages, which would hold up the loop",
    "codecs.json_apart": "reads large bodies of unusual form in a process each, which ends with the body",
    "platforms.engines.background": "examines the engines of versions that serve already",
    "platforms.engines.examination": "converts and examines in processes of their own, which may crash or hang",
    "sources.poller": "looks for versions",
    "sources.config_watch": "looks at the model config file, which a base path that hangs must not delay",
    "observability.request_log": "writes logged requests to files, so that no request waits for a disk",
    "workers.channel": "answers questions of the other process, each in a task that ends with its answer",
    "workers.group": "waits for each worker to let clients in, in a task that ends with its answer",
    "workers.keeper": "keeps worker processes, with a task for each",
    "workers.launch": "starts worker processes",
    "server.first_load": "waits for loads, on threads, until the models answer or a stop is asked for",
    "server.supervisor": "serves with workers, and starts and stops what directs them",
    "server.worker": "has the request log written at the end, on a thread",
    "server.lifespan": "serves, and starts and stops all of the others",
    "server.server": "`Server.start` serves on a thread of its own, for programs without an event loop",
    "wires.eager": "a request that waits for more than an answer goes on in a task, ended by it or with its connection",
    "loadgen.job": "the load of several processes, each of which ends with its part",
    "api.asgi": "a gRPC call runs beside a watch on its client; both end with the request",
}
"""The modules that start threads, processes or tasks -> for what."""

STARTERS = frozenset(
    {
        "Pool",
        "Popen",
        "Process",
        "ProcessPoolExecutor",
        "TaskGroup",
        "_BackgroundThread",
        "Thread",
        "ThreadPoolExecutor",
        "Timer",
        "create_task",
        "ensure_future",
        "fork",
        "run_coroutine_threadsafe",
        "run_in_executor",
        "start_new_thread",
        "to_thread",
    }
)
"""What starts them, by the last part of the name that is called."""

FRAMEWORKS = frozenset({"ai_edge_litert", "onnx", "onnxruntime", "openvino", "tensorflow", "tf2onnx", "torch"})


@dataclass(frozen=True)
class Module:
    """One file: its name without `hotserve.`, and what is in it."""

    name: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The package or module right below `hotserve` that it belongs to."""
        return self.name.split(".")[0]


@cache
def modules() -> Mapping[str, Module]:
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, ast.parse(file.read_text(encoding="utf-8")))
    return found


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The full names that import statements ask for: `a.b` for `import a.b` and for `from a import b`."""
    for node in nodes:
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                raise AssertionError(f"line {node.lineno}: expected an absolute import")


def own(name: str) -> str | None:
    """The module of hotserve that a full name lies in, `""` for hotserve itself; None if it lies elsewhere."""
    if name.split(".")[0] != "hotserve":
        return None
    name = name.removeprefix("hotserve").removeprefix(".")
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def edges() -> Iterator[tuple[Module, str]]:
    """Every import of one module of hotserve by another, also of those that are named by `module:Class`."""
    for module in modules().values():
        nodes = list(ast.walk(module.tree))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        names = [*imported(nodes), *(text.replace(":", ".") for text in texts if re.fullmatch(r"[\w.]+:\w+", text))]
        for target in {own(name) for name in names} - {None, module.name}:
            assert target is not None
            yield module, target


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes of some cycle, in order; none if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_part_has_its_place_in_the_order_and_every_place_is_taken_at_most_once() -> None:
    assert {module.part for module in modules().values()} <= RANK.keys()
    assert sum(len(layer) for layer in LAYERS) == len(RANK)


def test_imports_go_down_only() -> None:
    upward = [
        f"{module.name} imports {target or 'hotserve'}"
        for module, target in edges()
        if RANK[target.split(".")[0]] > RANK[module.part]
    ]
    assert upward == []


def test_the_walk_sees_imports_at_all() -> None:
    seen = {(module.name, target) for module, target in edges()}
    assert {
        ("core.manager", "core.reconciler"),  # from package.module import name
        ("", "version"),
        ("cli.demo", "demo"),  # a package as such
        ("api.rest", "observability.prometheus"),  # from package import module
        ("platforms.registry", "platforms.engines.loader"),  # named by a text
    } <= seen


def test_nobody_takes_the_public_names_from_the_inside() -> None:
    # `hotserve/__init__.py` imports nearly everything: whoever imports from it closes a circle.
    assert [module.name for module, target in edges() if target == "" and module.name != "__main__"] == []


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for module, target in edges():
        graph.setdefault(module.name, set()).add(target)
    assert cycle(graph) == []


def test_packages_do_not_import_each_other_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for module, target in edges():
        if module.part != target.split(".")[0]:
            graph.setdefault(module.part, set()).add(target.split(".")[0])
    assert cycle(graph) == []


def test_a_circle_would_be_found() -> None:
    assert set(cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_imports_stand_at_the_top_of_the_file_but_for_those_that_are_listed_with_a_reason() -> None:
    found = {
        (module.name, name)
        for module in modules().values()
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for name in imported(ast.walk(function))
    }
    assert found == IMPORTS_INSIDE_FUNCTIONS.keys()


def test_modules_are_imported_by_name_where_there_is_a_reason_to() -> None:
    found = {module.name for module in modules().values() if {"import_module", "__import__"} & set(called(module))}
    assert found == IMPORTS_BY_NAME.keys()


def called(module: Module) -> Iterator[str]:
    """The last part of the name of everything that is called: `Thread` for `threading.Thread(...)`."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                yield name


def test_threads_and_tasks_are_started_in_few_places_and_each_is_listed_with_its_reason() -> None:
    found = {module.name for module in modules().values() if STARTERS & set(called(module))}
    assert found == STARTS_WORK.keys()


@pytest.mark.parametrize(
    "name",
    [
        "api.codec_threads",
        "background",
        "core.manager",
        "platforms.engines.background",
        "batching.scheduler",
        "sources.poller",
        "sources.config_watch",
        "server.lifespan",
    ],
)
def test_a_file_that_starts_work_says_first_which_threads_and_how_they_end(name: str) -> None:
    assert re.search(r"^(Tasks and threads|Threads):.*end", ast.get_docstring(modules()[name].tree) or "", re.S | re.M)


def test_the_core_knows_threads_in_its_manager_only() -> None:
    found = {
        module.name
        for module in modules().values()
        if module.part == "core"
        for name in imported(ast.walk(module.tree))
        if name.split(".")[0] in {"_thread", "asyncio", "concurrent", "multiprocessing", "queue", "threading"}
    }
    assert found == {"core.manager"}


def test_the_core_knows_no_package_no_network_and_no_wall_clock() -> None:
    names = {name for module in modules().values() if module.part == "core" for name in imported(ast.walk(module.tree))}
    tops = {name.split(".")[0] for name in names}
    assert tops <= sys.stdlib_module_names | {"hotserve"}
    assert not tops & {"datetime", "http", "os", "select", "shutil", "socket", "ssl", "subprocess", "urllib"}
    assert not {"time.time", "time.time_ns", "time.sleep"} & names
    assert not any(
        {"time", "time_ns", "sleep"} & set(called(module)) for module in modules().values() if module.part == "core"
    )


def test_only_platforms_know_frameworks() -> None:
    found = {
        module.part
        for module in modules().values()
        for name in imported(ast.walk(module.tree))
        if name.split(".")[0] in FRAMEWORKS
    }
    assert found == {"platforms"}


def test_no_file_is_named_after_nothing() -> None:
    vague = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
    assert [name for name in modules() if name.rpartition(".")[2] in vague] == []

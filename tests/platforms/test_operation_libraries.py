from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotserve.errors import Code, ConfigError, ServingError
from hotserve.platforms.operation_libraries import libraries_with_operations, load_operations
from hotserve.platforms.tensorflow import TensorFlowLoader
from hotserve.platforms.tensorflow_c_api import c_api
from support.foreign_operation import compile_plus_one, write_model

# What is registered in this process stays so: every test has an operation of its own.


def refusal(libraries: list[str], packages: list[str]) -> str:
    with pytest.raises(ConfigError) as raised:
        load_operations(libraries, packages)
    return raised.value.message


def plus_one(path: Path) -> list[float]:
    servable = TensorFlowLoader().load(path)
    answer = servable.run("serving_default", {"x": np.float32([1, 2])}, ["y"])["y"].tolist()
    servable.unload()
    return answer


def test_a_graph_with_an_operation_that_there_is_not_says_how_to_get_it(tf: Any, tmp_path: Path) -> None:
    model = write_model(tf, tmp_path / "1", "SimpleMLHotserveTest", "float32")
    with pytest.raises(ServingError, match="Op type not registered 'SimpleMLHotserveTest'") as raised:
        TensorFlowLoader().load(model)
    assert raised.value.code is Code.NOT_FOUND
    assert raised.value.message.endswith("--import=tensorflow_decision_forests.")


def test_a_library_brings_an_operation(tf: Any, tmp_path: Path) -> None:
    model = write_model(tf, tmp_path / "1", "HotserveOfALibrary", "float32")
    library = compile_plus_one(tmp_path / "plus_one.so", "HotserveOfALibrary")
    load_operations([str(library)], [])
    assert plus_one(model) == [2.0, 3.0]
    load_operations([str(library)], [])  # a second server in the same process


def test_a_library_may_use_all_of_tensorflow(tf: Any, tmp_path: Path) -> None:
    model = write_model(tf, tmp_path / "1", "HotserveUsesMore", "float32")
    library = compile_plus_one(tmp_path / "plus_one.so", "HotserveUsesMore", uses_more=True)
    program = (
        "import sys; from hotserve.platforms.operation_libraries import load_operations;"
        f" load_operations([{str(library)!r}], [])"
    )
    # Here, Python's tensorflow shares its symbols already.
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    load_operations([str(library)], [])
    assert plus_one(model) == [2.0, 3.0]


def test_a_package_brings_the_operations_of_its_libraries_and_is_not_imported(
    tf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tf, tmp_path / "1", "HotserveOfAPackage", "float32")
    package = tmp_path / "packages" / "hotserve_test_operations"
    compile_plus_one(package / "python" / "ops" / "_plus_one.so", "HotserveOfAPackage")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "python" / "ops" / "_other.so").write_bytes(b"no library, and nothing that asks to be loaded")
    (package / "python" / "ops" / "_empty.so").touch()
    monkeypatch.syspath_prepend(str(package.parent))
    load_operations([], ["hotserve_test_operations"])
    assert plus_one(model) == [2.0, 3.0]
    assert "hotserve_test_operations" not in sys.modules


def test_a_part_of_a_package_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "hotserve_test_parts"
    (package / "good").mkdir(parents=True)
    (package / "bad").mkdir()
    (package / "__init__.py").touch()
    compile_plus_one(package / "good" / "plus_one.so", "HotserveOfAPart")
    (package / "bad" / "plus_one.so").write_bytes(b"OpDefBuilder")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_operations([], ["hotserve_test_parts.good"])
    assert refusal([], ["hotserve_test_parts"]).startswith(
        f"--import=hotserve_test_parts: {package}/bad/plus_one.so cannot be loaded: "
    )


def test_a_package_without_libraries_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hotserve_test_plain.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_operations([], ["hotserve_test_plain"])
    assert sys.modules.pop("hotserve_test_plain").loaded


def test_a_package_that_cannot_be_imported_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hotserve_test_broken.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = refusal([], ["hotserve_test_broken"])
    assert message.startswith("--import=hotserve_test_broken: the package has no libraries that register operations")
    assert "No module named 'not_there_at_all'" in message


@pytest.mark.parametrize("name", ["not_there_at_all", "not_there.at.all", ".relative", "with-dash"])
def test_a_package_that_there_is_not_is_refused(name: str) -> None:
    assert refusal([], [name]).startswith(f"--import={name}: there is no Python package")


def test_a_library_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal([str(tmp_path / "gone.so")], []) == (
        f"--custom_op_libraries: there is no file {tmp_path}/gone.so. Expected a shared library that registers"
        " operations."
    )


def test_what_is_no_library_is_refused_with_the_loader_s_reason(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("not a library")
    message = refusal([str(tmp_path / "text.so")], [])
    assert message.startswith(f"--custom_op_libraries: {tmp_path}/text.so cannot be loaded: {tmp_path}/text.so: ")
    assert message.endswith(
        f"Expected a library made for TensorFlow {c_api().version}, the one that is installed here."
    )


def test_the_libraries_of_tensorflow_text_are_told_from_its_python_modules() -> None:
    tensorflow_text = pytest.importorskip("importlib.util").find_spec("tensorflow_text")
    if tensorflow_text is None:
        pytest.skip("tensorflow-text is not installed")
    folder = Path(tensorflow_text.submodule_search_locations[0])
    names = {library.relative_to(folder).parts[0:2] for library in libraries_with_operations(folder)}
    assert names == {("python", "metrics"), ("python", "ops")}

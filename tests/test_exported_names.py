from __future__ import annotations

import subprocess
import sys

import pytest

import hotserve


def test_the_list_of_public_names_is_sorted_and_names_each_once() -> None:
    assert hotserve.__all__ == sorted(set(hotserve.__all__))


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in hotserve.__all__ if not hasattr(hotserve, name)] == []


def test_everything_that_looks_public_is_listed() -> None:
    own = {
        name
        for name, value in vars(hotserve).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("hotserve.")
    }
    assert own - set(hotserve.__all__) == set()


def test_every_public_class_says_what_it_is() -> None:
    classes = [getattr(hotserve, name) for name in hotserve.__all__ if isinstance(getattr(hotserve, name), type)]
    assert len(classes) > 10
    assert [value for value in classes if not (value.__doc__ or "").strip()] == []


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has imported after the statement."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    return set(done.stdout.split())


def test_importing_hotserve_imports_none_of_what_it_is_made_of() -> None:
    modules = imported_by("import hotserve")
    assert {name for name in modules if name.startswith("hotserve.")} == {"hotserve.version"}
    assert "numpy" not in modules


def test_a_server_is_imported_with_the_name_and_without_a_framework() -> None:
    modules = imported_by("from hotserve import Server")
    assert "hotserve.server.server" in modules
    frameworks = {"jax", "keras", "onnx", "onnxruntime", "tensorflow", "torch"}
    assert frameworks & modules == set()


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'hotserve' has no attribute 'Sever'$"):
        _ = hotserve.Sever  # type: ignore[attr-defined]


def test_completion_finds_the_public_names_before_they_are_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import hotserve; print(set(hotserve.__all__) - set(dir(hotserve)))"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "set()\n"

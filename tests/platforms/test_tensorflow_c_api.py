from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hotserve.errors import Code, FailedPrecondition, InvalidArgument, NotFound, ServingError
from hotserve.platforms.tensorflow_c_api import CApi, Status, c_api, error_of, find_library


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (3, InvalidArgument, Code.INVALID_ARGUMENT),
        (5, NotFound, Code.NOT_FOUND),
        (9, FailedPrecondition, Code.FAILED_PRECONDITION),
        (11, ServingError, Code.OUT_OF_RANGE),
        (15, ServingError, Code.DATA_LOSS),
        (77, ServingError, Code.UNKNOWN),
    ],
)
def test_codes_of_tensorflow_are_the_canonical_ones(number: int, kind: type[ServingError], code: Code) -> None:
    error = error_of(number, "what")
    assert type(error) is kind
    assert (error.code, error.message) == (code, "what")


def test_every_code_has_an_error_of_that_code() -> None:
    assert [error_of(code, "").code for code in Code] == list(Code)


def installed_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("tensorflow", None, is_package=True)
    assert spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(folder))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.mark.parametrize("name", ["libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib"])
def test_the_library_is_the_one_of_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).touch()
    installed_in(tmp_path, monkeypatch)
    assert find_library() == tmp_path / name


def test_a_package_without_the_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_in(tmp_path, monkeypatch)
    with pytest.raises(FailedPrecondition, match=f"{tmp_path} has none of libtensorflow_cc.so.2"):
        find_library()


def test_no_package_at_all_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        FailedPrecondition, match=r"the package is not installed\..*pip install 'hotserve\[tensorflow\]'"
    ):
        find_library()


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    library = tmp_path / "libtensorflow_cc.so.2"
    library.write_bytes(b"no library")
    with pytest.raises(
        FailedPrecondition, match=r"libtensorflow_cc\.so\.2 cannot be used: .*tensorflow 2\.16 or later"
    ):
        CApi(library)


def test_a_library_that_lacks_a_function_is_named() -> None:
    pytest.importorskip("onnxruntime")
    libraries = list(Path(importlib.util.find_spec("onnxruntime").submodule_search_locations[0]).glob("capi/*.so*"))  # type: ignore[union-attr,index]
    with pytest.raises(FailedPrecondition, match="cannot be used"):
        CApi(libraries[0])


def test_the_library_is_loaded_once() -> None:
    assert c_api() is c_api()


def test_a_status_raises_at_the_end_of_its_block_what_is_in_it() -> None:
    api = c_api()
    options = api.quick.TF_NewSessionOptions()
    with pytest.raises(InvalidArgument, match="Unparseable ConfigProto"), Status(api) as status:
        api.quick.TF_SetConfig(options, b"\xff", 1, status.address)
    with Status(api) as status:
        api.quick.TF_SetConfig(options, b"", 0, status.address)
    api.quick.TF_DeleteSessionOptions(options)


def test_an_error_in_the_block_goes_before_the_one_in_the_status() -> None:
    api = c_api()
    options = api.quick.TF_NewSessionOptions()

    def fail_twice() -> None:
        with Status(api) as status:
            api.quick.TF_SetConfig(options, b"\xff", 1, status.address)
            raise KeyError

    with pytest.raises(KeyError):
        fail_twice()
    api.quick.TF_DeleteSessionOptions(options)


LOG_LEVEL = """
import os
from hotserve.platforms.tensorflow_c_api import c_api
c_api()
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


@pytest.mark.parametrize(("chosen", "expected"), [({}, "2"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")])
def test_tensorflow_writes_errors_only_unless_the_user_wants_more(chosen: dict[str, str], expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | chosen
    answer = subprocess.run(
        [sys.executable, "-c", LOG_LEVEL], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == expected

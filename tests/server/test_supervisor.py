from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hotserve import ConfigError, ModelSpec, Server, ServingError
from hotserve.core.loader import Loader
from hotserve.core.states import State
from hotserve.errors import Unimplemented
from support.embedded import is_free, local_options, predict, write_table


def test_a_program_that_embeds_the_server_may_have_workers(tmp_path: Path) -> None:
    write_table(tmp_path / "m" / "1", one="eins")
    options = local_options(workers=2, model_name="m", model_base_path=str(tmp_path / "m"))
    with Server(options) as server:
        assert {tuple(predict(options.rest_api_port, "m", "one")) for _ in range(10)} == {("eins",)}
        (status,) = server.manager.status("m")
        assert status.state is State.AVAILABLE
        with server.manager.lease(ModelSpec("m")) as lease, pytest.raises(Unimplemented, match="held by workers"):
            lease.servable.run("serving_default", {}, ["values"])
    assert is_free(options.rest_api_port)


def test_a_port_in_use_is_an_error_where_the_server_is_started(tmp_path: Path) -> None:
    write_table(tmp_path / "m" / "1", one="eins")
    options = local_options(model_name="m", model_base_path=str(tmp_path / "m"))
    with Server(options):
        other = Server(local_options(workers=2, model_name="m", model_base_path=str(tmp_path / "m"), port=options.port))
        with pytest.raises(ConfigError, match=f"Port {options.port} is in use"):
            other.start()


def test_a_loader_that_workers_cannot_import_is_refused_when_the_server_is_made(tmp_path: Path) -> None:
    def loader(model: object) -> Loader:
        raise AssertionError

    options = local_options(workers=2, model_name="m", model_base_path=str(tmp_path))
    with pytest.raises(ConfigError, match="import it by its name"):
        Server(options, loader=loader)


def test_a_loader_of_the_program_itself_is_refused_as_workers_run_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loader(model: object) -> Loader:
        raise AssertionError

    loader.__module__, loader.__qualname__ = "__main__", "loader_of_the_program"
    monkeypatch.setattr(sys.modules["__main__"], "loader_of_the_program", loader, raising=False)
    options = local_options(workers=2, model_name="m", model_base_path=str(tmp_path))
    with pytest.raises(ConfigError, match="Expected a function of a module that it imports"):
        Server(options, loader=loader)


def test_what_keeps_workers_from_serving_is_raised_where_the_server_is_started(tmp_path: Path) -> None:
    options = local_options(
        workers=2, model_name="m", model_base_path=str(tmp_path), custom_op_libraries="/nowhere/ops.so"
    )
    with pytest.raises(ServingError, match=r"/nowhere/ops\.so"):
        Server(options).start()
    assert is_free(options.rest_api_port)


def test_a_platform_that_there_is_not_is_refused_as_without_workers(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text('model_config_list { config { name: "m" base_path: "m" model_platform: "caffe" } }')
    with pytest.raises(ConfigError, match="unsupported platform caffe"):
        Server(local_options(workers=2, model_config_file=str(file)))

"""hotserve: a model server in Python with TensorFlow Serving's APIs.

from hotserve import Server, ServerOptions

with Server(ServerOptions(model_name="digits", model_base_path="models/digits")) as server:
    ...

Each name is imported when it is first asked for: the program, and whoever wants one name, need not wait for all.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from hotserve.version import __version__

if TYPE_CHECKING:
    from hotserve.config.model_config import ModelConfig
    from hotserve.config.options import ServerOptions
    from hotserve.core.ids import ServableId
    from hotserve.core.loader import Loader
    from hotserve.core.servable import Servable
    from hotserve.core.served_versions import ModelSpec
    from hotserve.core.source import AspiredTarget, AspiredVersion
    from hotserve.core.states import State, VersionStatus
    from hotserve.core.version_policy import All, Latest, Specific
    from hotserve.errors import Code, ConfigError, ServingError
    from hotserve.server.server import Server
    from hotserve.tensors import DType, Signature, TensorSpec

__all__ = [
    "All",
    "AspiredTarget",
    "AspiredVersion",
    "Code",
    "ConfigError",
    "DType",
    "Latest",
    "Loader",
    "ModelConfig",
    "ModelSpec",
    "Servable",
    "ServableId",
    "Server",
    "ServerOptions",
    "ServingError",
    "Signature",
    "Specific",
    "State",
    "TensorSpec",
    "VersionStatus",
    "__version__",
]

_HOMES = MappingProxyType(
    {
        "All": "hotserve.core.version_policy",
        "AspiredTarget": "hotserve.core.source",
        "AspiredVersion": "hotserve.core.source",
        "Code": "hotserve.errors",
        "ConfigError": "hotserve.errors",
        "DType": "hotserve.tensors",
        "Latest": "hotserve.core.version_policy",
        "Loader": "hotserve.core.loader",
        "ModelConfig": "hotserve.config.model_config",
        "ModelSpec": "hotserve.core.served_versions",
        "Servable": "hotserve.core.servable",
        "ServableId": "hotserve.core.ids",
        "Server": "hotserve.server.server",
        "ServerOptions": "hotserve.config.options",
        "ServingError": "hotserve.errors",
        "Signature": "hotserve.tensors",
        "Specific": "hotserve.core.version_policy",
        "State": "hotserve.core.states",
        "TensorSpec": "hotserve.tensors",
        "VersionStatus": "hotserve.core.states",
    }
)
"""Public name -> the module that it is imported from."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""hotserve: a model server in Python with TensorFlow Serving's APIs.

from hotserve import Server, ServerOptions

with Server(ServerOptions(model_name="digits", model_base_path="models/digits")) as server:
    ...
"""

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
from hotserve.version import __version__

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

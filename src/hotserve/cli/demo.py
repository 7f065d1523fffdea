"""`hotserve demo`: serves the bundled digit classifier and prints a request to try."""

from __future__ import annotations

from collections.abc import Sequence

from hotserve.cli.serve import run_until_signal
from hotserve.config.flags import parse_flags
from hotserve.config.model_config import ModelConfig
from hotserve.config.options import ServerOptions
from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredTarget, AspiredVersion
from hotserve.demo import MODEL_BASE_PATH, MODEL_NAME, curl_line
from hotserve.errors import ConfigError
from hotserve.observability.logs import configure_logging
from hotserve.server.assemble import SourceThread
from hotserve.server.server import Server
from hotserve.sources.static import StaticSource

MODEL_VERSION = 1


def demo(arguments: Sequence[str]) -> int:
    """The command; takes the flags of `serve` that say where to listen.

    Raises:
        ConfigError: A flag is wrong, or names a model, which is `serve`'s to do.
    """
    options = parse_flags(arguments, ServerOptions(host="127.0.0.1", model_name=MODEL_NAME)).options
    if options.model_base_path or options.model_config_file:
        raise ConfigError("hotserve demo serves the bundled model only. For a model of yours: hotserve serve.")
    if not options.rest_api_port:
        raise ConfigError("--rest_api_port=0: the demo is shown over REST. Expected a port.")
    configure_logging()
    model = ModelConfig(name=MODEL_NAME, base_path=MODEL_BASE_PATH)
    server = Server(options, models=[model], source=_bundled)
    return run_until_signal(server, lambda: _greet(options))


def _bundled(target: AspiredTarget, models: Sequence[ModelConfig]) -> SourceThread:
    version = AspiredVersion(ServableId(MODEL_NAME, MODEL_VERSION), MODEL_BASE_PATH / str(MODEL_VERSION))
    return StaticSource(target, {MODEL_NAME: [version]})


def _greet(options: ServerOptions) -> None:
    print(
        f"\nServing the digit classifier as {MODEL_NAME!r}. Paste this into another terminal:\n\n"
        f"{curl_line(options.host or 'localhost', options.rest_api_port)}\n\n"
        "The answer is ten probabilities, for 0 to 9. Ctrl-C stops the server.\n",
        flush=True,
    )

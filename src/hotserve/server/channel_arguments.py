"""`--grpc_channel_arguments`: settings of gRPC's C++ core, as far as the server in front of us knows the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hotserve.errors import ConfigError

_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_INFINITE = 2**31 - 1
"""What gRPC's core takes for no limit at all."""


@dataclass(frozen=True, slots=True)
class ChannelArguments:
    """What the flag comes to.

    Attributes:
        settings: Options of `h2corn.Config`.
        without_effect: The names of the arguments that it knows nothing like.
    """

    settings: Mapping[str, int | float]
    without_effect: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Setting:
    """How an argument becomes an option: its name, the range of its values, and what is made of one."""

    name: str
    least: int
    most: int
    convert: Callable[[int], int | float] = int


def _seconds(milliseconds: int) -> float:
    return 0.0 if milliseconds == _INFINITE else milliseconds / 1e3  # 0 turns the limit off


# Source: grpc/impl/channel_arg_names.h.
_SETTINGS: Mapping[str, _Setting] = MappingProxyType(
    {
        "grpc.max_concurrent_streams": _Setting("max_concurrent_streams", 1, _INFINITE),
        "grpc.max_connection_idle_ms": _Setting("timeout_keep_alive", 1, _INFINITE, _seconds),
        "grpc.server_handshake_timeout_ms": _Setting("timeout_handshake", 1, _INFINITE, _seconds),
        "grpc.max_metadata_size": _Setting("h2_max_header_list_size", 1, _INFINITE),
        "grpc.http2.max_frame_size": _Setting("h2_max_inbound_frame_size", 1 << 14, (1 << 24) - 1),
    }
)


def read_channel_arguments(text: str) -> ChannelArguments:
    """Reads the flag.

    Args:
        text: `name=value` with commas between them; of a name that comes twice, the last counts.

    Raises:
        ConfigError: An item is not of that form, or the value of an argument that is known does not fit.
    """
    settings: dict[str, int | float] = {}
    without_effect: dict[str, None] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if not (name and equals):
            raise ConfigError(
                f"--grpc_channel_arguments: {item!r} has no value. Expected name=value items with commas between them,"
                " such as grpc.max_concurrent_streams=100."
            )
        setting = _SETTINGS.get(name)
        if setting is None:
            without_effect[name] = None
        else:
            settings[setting.name] = setting.convert(_number(name, value, setting))
    return ChannelArguments(settings, tuple(without_effect))


def _number(name: str, text: str, setting: _Setting) -> int:
    if not _WHOLE.fullmatch(text) or not setting.least <= int(text) <= setting.most:
        raise ConfigError(
            f"--grpc_channel_arguments: {name}={text}: expected a whole number from {setting.least} to {setting.most}."
        )
    return int(text)

"""`--grpc_channel_arguments`: settings of gRPC's C++ core, as far as our wire knows the like."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hotserve.config.options import ServerOptions
from hotserve.errors import ConfigError
from hotserve.wires.grpc_http2 import GrpcLimits

logger = logging.getLogger(__name__)

_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_INFINITE = 2**31 - 1
"""What gRPC's core takes for no limit at all."""


@dataclass(frozen=True, slots=True)
class ChannelArguments:
    """What the flag comes to.

    Attributes:
        limits: What clients may do.
        without_effect: The names of the arguments that it knows nothing like.
    """

    limits: GrpcLimits
    without_effect: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Setting:
    """How an argument changes the limits: the range of its values, and what is made of one."""

    least: int
    most: int
    change: Callable[[GrpcLimits, int], GrpcLimits]


def _seconds(milliseconds: int) -> float:
    return 0.0 if milliseconds == _INFINITE else milliseconds / 1e3  # 0 turns the limit off


# Source: grpc/impl/channel_arg_names.h.
_SETTINGS: Mapping[str, _Setting] = MappingProxyType(
    {
        "grpc.max_concurrent_streams": _Setting(
            1, _INFINITE, lambda limits, count: _http2(limits, max_concurrent_streams=count)
        ),
        "grpc.max_connection_idle_ms": _Setting(
            1, _INFINITE, lambda limits, time: replace(limits, idle_seconds=_seconds(time))
        ),
        "grpc.server_handshake_timeout_ms": _Setting(
            1, _INFINITE, lambda limits, time: replace(limits, handshake_seconds=_seconds(time))
        ),
        "grpc.keepalive_time_ms": _Setting(
            1, _INFINITE, lambda limits, time: replace(limits, keepalive_seconds=_seconds(time))
        ),
        "grpc.keepalive_timeout_ms": _Setting(
            1, _INFINITE, lambda limits, time: replace(limits, keepalive_timeout_seconds=_seconds(time))
        ),
        "grpc.max_metadata_size": _Setting(
            1, _INFINITE, lambda limits, size: _http2(limits, max_header_list_bytes=size)
        ),
        "grpc.http2.max_frame_size": _Setting(
            1 << 14, (1 << 24) - 1, lambda limits, size: _http2(limits, max_frame_bytes=size)
        ),
    }
)


def _http2(limits: GrpcLimits, **changed: int) -> GrpcLimits:
    return replace(limits, http2=replace(limits.http2, **changed))


def configured_limits(options: ServerOptions) -> GrpcLimits:
    """What clients of gRPC may do; the log names the arguments that change nothing.

    Raises:
        ConfigError: As `read_channel_arguments`.
    """
    arguments = read_channel_arguments(options.grpc_channel_arguments, options.max_message_bytes)
    for name in arguments.without_effect:
        logger.warning("--grpc_channel_arguments: %s has no effect here", name)
    return arguments.limits


def read_channel_arguments(text: str, max_message_bytes: int) -> ChannelArguments:
    """Reads the flag.

    Args:
        text: `name=value` with commas between them; of a name that comes twice, the last counts.
        max_message_bytes: The largest message.

    Raises:
        ConfigError: An item is not of that form, or the value of an argument that is known does not fit.
    """
    limits = GrpcLimits(max_message_bytes=max_message_bytes)
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
            limits = setting.change(limits, _number(name, value, setting))
    return ChannelArguments(limits, tuple(without_effect))


def _number(name: str, text: str, setting: _Setting) -> int:
    if not _WHOLE.fullmatch(text) or not setting.least <= int(text) <= setting.most:
        raise ConfigError(
            f"--grpc_channel_arguments: {name}={text}: expected a whole number from {setting.least} to {setting.most}."
        )
    return int(text)

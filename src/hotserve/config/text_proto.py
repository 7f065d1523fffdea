"""Config files in protobuf's text format, read into messages of the private pool."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from hotserve.errors import ConfigError, NotFound
from hotserve.protos.pool import POOL

M = TypeVar("M", bound=Message)

# As text_format words it: Message type "tensorflow.serving.ModelConfig" has no field named "nme".
_UNKNOWN_FIELD = re.compile(r'Message type "(?P<message>[^"]+)" has no field named "(?P<field>[^"]+)"')


def read_text_proto(path: Path, message_class: type[M]) -> M:
    """Reads a config file.

    A file of blank lines and comments is an empty message; a file of no bytes at all is an error, because it is more
    often a copy that failed than a wish.

    Args:
        path: The file.
        message_class: A class of `hotserve.protos.messages`.

    Raises:
        NotFound: There is no such file.
        ConfigError: It cannot be read, is empty, or does not parse; the message tells line, column and reason.

    Source: ParseProtoTextFile in tensorflow_serving/model_servers/server_init.cc and server.cc.
    """
    wanted = message_class.DESCRIPTOR.full_name
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}; {error.strerror}. Expected a file with a {wanted} in text format.") from error
    except OSError as error:
        raise ConfigError(f"{path}; {error.strerror}. Expected a readable file with a {wanted}.") from error
    if not data:
        raise ConfigError(
            f"{path}; Invalid argument. The file is empty; expected a {wanted} in text format. Where nothing is to "
            "be said, a comment line will do."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise _invalid(
            path, wanted, f"{line}:{column}: Expected UTF-8, got the byte 0x{data[error.start]:02x}."
        ) from error
    return parse_text_proto(text, message_class, path)


def parse_text_proto(text: str, message_class: type[M], file: Path) -> M:
    """Parses a text.

    Args:
        text: Protobuf text format.
        message_class: A class of `hotserve.protos.messages`.
        file: What the error calls the text.

    Raises:
        ConfigError: It does not parse; the message tells line, column and reason.
    """
    try:
        return text_format.Parse(text, message_class(), descriptor_pool=POOL)
    except text_format.ParseError as error:
        reason = str(error)
        if error.GetLine() is not None:
            position = f"{error.GetLine()}:{error.GetColumn()}"
            reason = f"{position}: {reason.removeprefix(position).removeprefix(' : ')}"
        raise _invalid(file, message_class.DESCRIPTOR.full_name, reason + _hint(reason)) from error


def _invalid(file: Path, wanted: str, reason: str) -> ConfigError:
    # The second sentence is what protobuf's C++ parser logs; scripts look for it.
    return ConfigError(f"Invalid protobuf file: '{file}'. Error parsing text-format {wanted}: {reason}")


def _hint(reason: str) -> str:
    """For a field that there is not: the one meant, or those that there are."""
    unknown = _UNKNOWN_FIELD.search(reason)
    if unknown is None:
        return ""
    fields = [field.name for field in POOL.FindMessageTypeByName(unknown["message"]).fields]
    close = get_close_matches(unknown["field"], fields, n=1)
    return f' Did you mean "{close[0]}"?' if close else f" Its fields: {', '.join(fields)}."

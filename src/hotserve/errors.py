"""The errors of hotserve: one small tree, in canonical codes.

    ServingError                 code and message; raised anywhere, mapped to a wire once, in api/status_codes.py
    ├── InvalidArgument          the request is wrong and will be wrong again
    ├── FailedPrecondition       right request, wrong state of the server
    ├── NotFound                 no such model, version or method
    ├── DeadlineExceeded         the client's deadline passed
    ├── ResourceExhausted        too large, or too much at once
    ├── Unimplemented            known, and not available here
    ├── Unavailable              not now; trying again may help
    ├── Internal                 a fault of ours, or of a platform
    └── ConfigError              a flag or a config file is wrong (InvalidArgument, before anything is served)

The codes are gRPC's, which `tensorflow.error.Code` repeats number by number.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Canonical status codes. Source: grpc/doc/statuscodes.md, tensorflow/core/protobuf/error_codes.proto."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """What went wrong, in a canonical code and in words for the user.

    The message begins with TensorFlow Serving's words where its contract fixes them, and goes on to say what was
    expected, what came, and what to do.
    """

    code: Code = Code.UNKNOWN

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        """The form of `Status::ToString()`: `INVALID_ARGUMENT: bad`."""
        return f"{self.code.name}: {self.message}"


class InvalidArgument(ServingError):
    """The request is wrong, whatever the state of the server."""

    code = Code.INVALID_ARGUMENT


class ConfigError(InvalidArgument):
    """A flag or a config file is wrong."""


class FailedPrecondition(ServingError):
    """The request is right, but not in this state of the server."""

    code = Code.FAILED_PRECONDITION


class NotFound(ServingError):
    """No such model, version, file or method."""

    code = Code.NOT_FOUND


class DeadlineExceeded(ServingError):
    """The deadline passed before there was an answer."""

    code = Code.DEADLINE_EXCEEDED


class ResourceExhausted(ServingError):
    """The request is larger than allowed, or there are too many at once."""

    code = Code.RESOURCE_EXHAUSTED


class Unimplemented(ServingError):
    """Known, and not available on this server."""

    code = Code.UNIMPLEMENTED


class Unavailable(ServingError):
    """Not now; the same request may succeed later."""

    code = Code.UNAVAILABLE


class Internal(ServingError):
    """A fault of the server or of a platform, not of the request."""

    code = Code.INTERNAL

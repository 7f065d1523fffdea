"""Model status: every version ever seen and where in its life it is."""

from __future__ import annotations

from typing import Any

from hotserve.core.served_versions import ServedVersions
from hotserve.core.states import State, VersionStatus
from hotserve.errors import NotFound
from hotserve.protos import messages


def model_status(manager: ServedVersions, name: str, version: int | None) -> Any:
    """The status of one version, or of all versions of a model, as a `GetModelStatusResponse` message.

    A version that waits for something, or for another attempt to load it, says so in `error_message`, with the code OK:
    waiting is no error, and clients that look at the code alone are not misled.

    Source: GetModelStatusImpl in tensorflow_serving/model_servers/get_model_status_impl.cc.

    Raises:
        NotFound: No version of that model, or not that one, was ever seen.
    """
    statuses = manager.status(name)
    if version is not None:
        statuses = tuple(s for s in statuses if s.id.version == version)
        if not statuses:
            raise NotFound(f"Could not find version {version} of model {name}")
    if not statuses:
        problem = manager.problems().get(name)
        raise NotFound(f"Could not find any versions of model {name}{f'. {problem}' if problem else ''}")
    answer = messages.GetModelStatusResponse()
    for status in statuses:
        _add(answer, status)
    return answer


def _add(answer: Any, status: VersionStatus) -> None:
    entry = answer.model_version_status.add(version=status.id.version, state=int(status.state))
    # Present even when it is OK and empty, as the original has it.
    entry.status.SetInParent()
    if status.error is not None and status.state is State.LOADING:
        entry.status.error_message = _utf8(f"Loading again after a failure: {status.error}")
    elif status.error is not None:
        entry.status.error_code = int(status.error.code)
        entry.status.error_message = _utf8(status.error.message)
    elif status.state is State.START and status.waiting_for:
        entry.status.error_message = _utf8(f"Waiting: {status.waiting_for}")


def _utf8(text: str) -> str:
    """The text without what a message cannot hold: the name of a file may be any bytes, and stand in an error."""
    return text.encode("utf-8", "replace").decode()

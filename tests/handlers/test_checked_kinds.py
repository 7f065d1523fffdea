from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.handlers import checked_kinds
from hotserve.handlers.checked_kinds import CheckedKind, remember_kind
from hotserve.tensors import DType, Signature, TensorSpec
from hotserve.testing import FakeServable

SIGNATURE = Signature(
    {"x": TensorSpec(DType.FLOAT, None), "h": TensorSpec(DType.HALF, None)}, {"y": TensorSpec(DType.FLOAT, None)}
)
INPUTS = {"x": np.float32([[1, 2]]), "h": np.float16([3])}


@pytest.fixture
def handle() -> VersionHandle:
    return VersionHandle(ServableId("m", 7), FakeServable(Path("/models/m/7")), lambda _: None)


def lease_on(handle: VersionHandle) -> Lease:
    lease = handle.acquire()
    assert lease is not None
    return lease


def test_a_kind_is_known_to_all_leases_on_the_version(handle: VersionHandle) -> None:
    remember_kind(lease_on(handle), "key", "s", SIGNATURE, ["y"], INPUTS, ["h", "other", "x"])
    kind = lease_on(handle).remembered["key"]
    assert isinstance(kind, CheckedKind)
    assert (kind.signature_name, kind.signature, kind.outputs, kind.version) == ("s", SIGNATURE, ("y",), "7")
    assert kind.places == (
        ("h", 0, (1,), np.dtype(np.float16), ""),
        ("x", 2, (1, 2), np.dtype(np.float32), "f"),
    )


def test_the_only_input_needs_no_name(handle: VersionHandle) -> None:
    only = Signature({"x": TensorSpec(DType.FLOAT, None)}, {})
    remember_kind(lease_on(handle), "key", "s", only, [], {"x": np.float32([1])}, [None])
    assert lease_on(handle).remembered["key"].places == (("x", 0, (1,), np.dtype(np.float32), "f"),)


def test_a_signature_with_defaults_is_looked_at_each_time(handle: VersionHandle) -> None:
    filled = Signature(SIGNATURE.inputs, SIGNATURE.outputs, defaults={"h": np.float16([3])})
    remember_kind(lease_on(handle), "key", "s", filled, ["y"], INPUTS, ["x", "h"])
    assert not lease_on(handle).remembered


def test_clients_cannot_make_a_version_remember_ever_more(
    handle: VersionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_kinds, "_MAX_KINDS", 5)
    for key in range(50):
        remember_kind(lease_on(handle), key, "s", SIGNATURE, ["y"], INPUTS, ["x", "h"])
        assert key in handle.remembered
        assert len(handle.remembered) <= 5

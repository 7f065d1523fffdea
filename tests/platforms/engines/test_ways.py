from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hotserve.platforms.engines.domain import Bounds, Domain
from hotserve.platforms.engines.ways import Way, Ways
from hotserve.tensors import Array


class Nothing:
    """An engine that is never run."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        raise AssertionError("nobody asked for a run")


def ways(*domains: Domain) -> Ways:
    return Ways([Way(str(number), Nothing(), domain) for number, domain in enumerate(domains)])


def found(among: Ways, **inputs: Array) -> str | None:
    way = among.find(inputs)
    return None if way is None else way.engine


def test_each_shape_has_the_first_form_that_it_fits() -> None:
    among = ways(Domain({"x": (None, 1)}), Domain({"x": (None, None)}), Domain({"x": ()}))
    for _ in range(2):  # the second time from memory
        assert found(among, x=np.zeros((3, 1))) == "0"
        assert found(among, x=np.zeros((3, 2))) == "1"
        assert found(among, x=np.zeros(())) == "2"
        assert found(among, x=np.zeros(3)) is None
    assert among.first.engine == "0"


def test_values_are_looked_at_each_time() -> None:
    among = ways(Domain({"x": (None,)}, {"x": Bounds(-1, 1)}))
    assert found(among, x=np.array([0.5])) == "0"
    assert found(among, x=np.array([1.5])) is None
    assert found(among, x=np.array([0.5])) == "0"


def test_several_inputs_are_looked_at_together() -> None:
    among = ways(Domain({"x": (None, 2), "y": (None,)}))
    assert found(among, x=np.zeros((3, 2)), y=np.zeros(3)) == "0"
    assert found(among, x=np.zeros((3, 2)), y=np.zeros(4)) is None


def test_more_shapes_than_are_remembered_are_told_apart_all_the_same() -> None:
    among = ways(Domain({"x": (None,)}), Domain({"x": (None, 2)}))
    for size in range(1, 3000):
        assert found(among, x=np.zeros(size)) == "0"
    assert found(among, x=np.zeros((1, 2))) == "1"

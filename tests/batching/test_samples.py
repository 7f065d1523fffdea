from __future__ import annotations

import numpy as np

from hotserve.batching.samples import Samples
from support.in_process import adder


def test_the_first_inputs_of_each_signature_are_kept_until_they_are_taken() -> None:
    samples, one, other = Samples(), adder(1), adder(2)
    for number in range(10):
        samples.note(one, "a", {"x": np.float32([number])})
    samples.note(one, "b", {"x": np.float32([7])})
    taken = samples.take(one)
    assert taken.keys() == {"a", "b"}
    assert [inputs["x"].tolist() for inputs in taken["a"]] == [[0.0], [1.0], [2.0], [3.0]]
    assert samples.take(one) == {}
    assert samples.take(other) == {}

from __future__ import annotations

from hotserve.batching.options import ALONE, NATURAL
from hotserve.batching.plans import BatchPlans, ByServable, VersionPlan
from hotserve.core.servable import Servable
from support.in_process import adder


def test_a_version_has_the_plan_that_it_was_given_and_others_the_common_one() -> None:
    common = VersionPlan(otherwise=NATURAL)
    plans = BatchPlans(common)
    one, other = adder(1), adder(2)
    plans.set(one, VersionPlan({"a": NATURAL}))
    assert plans.of(one).rules_of("a") is NATURAL
    assert plans.of(one).rules_of("b") is ALONE
    assert plans.of(other) is common
    assert BatchPlans().of(other).rules_of("a") is ALONE


def test_a_value_is_forgotten_together_with_its_servable() -> None:
    values: ByServable[str] = ByServable()
    servable: Servable | None = adder(1)
    assert servable is not None
    values.set(servable, "first")
    values.set(servable, "second")
    assert values.get(servable) == "second"
    servable = None
    assert values._entries == {}


def test_a_servable_that_cannot_be_referred_to_weakly_has_no_value() -> None:
    class Slotted:
        __slots__ = ()
        signatures = adder(1).signatures
        run = adder(1).run
        unload = adder(1).unload

    values: ByServable[str] = ByServable()
    slotted = Slotted()
    values.set(slotted, "value")
    assert values.get(slotted) is None

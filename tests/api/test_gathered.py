"""Predict requests that gather and share a run are answered as if each had come alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any
from weakref import ref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotserve.api.codec_threads import LARGE_TEXT_BYTES
from hotserve.api.exchange import GrpcRequest, RestRequest, RestResponse
from hotserve.api.gathered import Patience
from hotserve.batching.lane import INLINE_SECONDS, QueueBounds
from hotserve.batching.options import NATURAL
from hotserve.codecs import compiled
from hotserve.codecs.tensor_proto import encode_tensor
from hotserve.core.served_versions import ModelSpec
from hotserve.errors import Code, InvalidArgument, ServingError
from hotserve.processors import CPUS_VARIABLE
from hotserve.protos import messages
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from hotserve.wires.eager import start
from support.in_process import PATIENCE, PREDICT, InProcess, ToyServable

pytestmark = pytest.mark.skipif(not compiled.IS_USED, reason="without the extensions nobody gathers")

PATH = "/v1/models/m:predict"
X = TensorSpec(DType.FLOAT, (None,), "x:0")
N = TensorSpec(DType.INT32, (None,), "n:0")
ROWS = TensorSpec(DType.FLOAT, (None, None), "rows:0")
WIDE = LARGE_TEXT_BYTES // 16


def model(number: float) -> ToyServable:
    """Signatures of several kinds; refuses a 7, together with all that share its run."""

    def run(signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        x = inputs["x"]
        if 7 in x:
            raise InvalidArgument("I do not like the number seven")
        rows = x.reshape(len(x), -1).sum(axis=1) if x.ndim else x.reshape(1)
        if signature == "one_for_all":
            return {"y": np.float32([rows.sum()])}
        if signature == "wide":
            return {"y": np.repeat(rows[:, None], WIDE, axis=1)}
        if "n" in inputs:
            rows = rows + inputs["n"]
        return {"y": np.float32(rows + number), "twice": np.stack([rows, rows], axis=1).astype(np.float64)}

    one, two = {"y": X}, {"y": X, "twice": TensorSpec(DType.DOUBLE, (None, 2), "t:0")}
    return ToyServable(
        {
            DEFAULT_SIGNATURE: Signature({"x": X}, one),
            "two": Signature({"x": X, "n": N}, two),
            "rows": Signature({"x": ROWS}, one),
            "strict": Signature({"x": X}, two, enforces_shapes=True),
            "one_for_all": Signature({"x": X}, one),
            "wide": Signature({"x": X}, {"y": ROWS}),
        },
        run,
    )


def make(bounds: QueueBounds | None = None) -> InProcess:
    """All runs are short, by a clock that stands still, at a time before that of any other clock."""
    return InProcess(
        {"m": {1: model(1), 2: model(2)}},
        labels={"m": {"old": 1}},
        rules=NATURAL,
        clock=FakeClock(0.0),
        bounds=bounds,
    )


@pytest.fixture(scope="module")
def gathering() -> Iterator[InProcess]:
    with make() as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[InProcess]:
    with make() as running:
        yield running


class Visitor:
    """Somebody who waits for an answer: its bytes, or the text of an error."""

    def __init__(self, request: Callable[[bytes], Any]) -> None:
        self.said: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.gathered = False
        self._has_left = False
        self._request = request

    def leave(self) -> None:
        self._has_left = True

    def answer(self, body: bytes) -> None:
        self.gathered = True
        self.said.set_result((200, body))

    def refuse(self, error: ServingError) -> None:
        self.said.set_result((error.code, error.message))

    def go_on(self, message: bytes, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        if not self._has_left:
            start(work(self._request(message)), asyncio.get_running_loop(), self.done)

    def done(self, result: Any, error: BaseException | None) -> None:
        if isinstance(error, ServingError):
            self.said.set_result((error.code, error.message))
        elif error is not None:
            self.said.set_exception(error)
        else:
            self.said.set_result((result.status, result.body) if isinstance(result, RestResponse) else (200, result))


Sent = tuple[str, bytes]
"""The path over REST, or nothing over gRPC; and what is sent."""


def send(apis: InProcess, sent: Sent, *, by_road: bool) -> Visitor:
    path, message = sent
    if path:
        visitor = Visitor(lambda body: RestRequest("POST", path, {}, body))
        road = apis.rest_api.road("POST", path, {})
        usual: Any = apis.rest_api.handle
    else:
        visitor = Visitor(lambda body: GrpcRequest(PREDICT, body, PATIENCE))
        road = apis.grpc_services.roads[PREDICT]
        usual = apis.grpc_services.call
    if not by_road or road is None or not road.take(message, visitor):
        visitor.go_on(message, usual)
    return visitor


async def all_at_once(apis: InProcess, many: Sequence[Sent]) -> list[Visitor]:
    """All of them come in the same turn of the loop."""
    visitors = [send(apis, sent, by_road=True) for sent in many]
    await asyncio.gather(*(visitor.said for visitor in visitors))
    return visitors


async def one_by_one(apis: InProcess, many: Sequence[Sent]) -> list[Any]:
    said = []
    for sent in many:
        said.append(await send(apis, sent, by_road=False).said)
        await asyncio.sleep(0)  # an answer may be there without any turn of the loop
    return said


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


numbers = st.sampled_from([0, 1, 3, 7, -1, 2.5])
vectors = st.lists(numbers, min_size=1, max_size=3)
matrices = st.integers(1, 2).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=3)
)
documents = st.one_of(
    st.builds(lambda key, x: {key: x}, st.sampled_from(["instances", "inputs"]), vectors),
    st.builds(lambda x: {"signature_name": "rows", "instances": x}, matrices),
    st.builds(lambda x: {"signature_name": "two", "inputs": {"x": x, "n": [1] * len(x)}}, vectors),
    st.builds(lambda x: {"signature_name": "two", "instances": [{"x": one, "n": 2} for one in x]}, vectors),
    st.builds(
        lambda name, x: {"signature_name": name, "instances": x},
        st.sampled_from(["strict", "one_for_all", "wide", "none"]),
        vectors,
    ),
    st.just({"instances": ["a"]}),
)
paths = st.sampled_from([PATH, PATH, PATH, "/v1/models/m/versions/1:predict", "/v1/models/m/labels/old:predict"])
over_rest = st.builds(lambda path, document: (path, json.dumps(document).encode()), paths, documents)


def call(signature: str, x: Sequence[Any], wanted: Sequence[str], version: int | None) -> Sent:
    request = messages.PredictRequest(output_filter=wanted)
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["x"].CopyFrom(encode_tensor(np.float32(x), DType.FLOAT))
    if signature == "two":
        request.inputs["n"].CopyFrom(encode_tensor(np.int32([1] * len(x)), DType.INT32))
    return "", request.SerializeToString()


over_grpc = st.builds(
    call,
    st.sampled_from(["", DEFAULT_SIGNATURE, "two", "strict", "one_for_all", "wide", "none"]),
    vectors,
    st.sampled_from([(), ("y",), ("twice", "y"), ("z",)]),
    st.sampled_from([None, None, 1, 9]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(over_rest, over_grpc), min_size=1, max_size=10), st.integers(1, 3))
def test_each_of_those_that_come_together_has_the_answer_that_it_has_alone(
    gathering: InProcess, plain: InProcess, many: list[Sent], times: int
) -> None:
    expected = run(one_by_one(plain, many))

    async def main() -> list[list[Any]]:
        await one_by_one(gathering, many)  # from now on, what may gather does
        return [[v.said.result() for v in await all_at_once(gathering, many * times)] for _ in range(2)]

    for found in run(main()):
        assert found == expected * times


def test_a_request_whose_client_has_left_before_it_went_the_usual_way_is_counted_as_cancelled() -> None:
    many = [(PATH, json.dumps({"instances": [7.0]}).encode()), call("", [7.0], (), None)]  # which cannot be run

    async def main(apis: InProcess) -> None:
        await one_by_one(apis, GOOD)
        visitors = [send(apis, sent, by_road=True) for sent in [*GOOD[:1], *many]]
        for visitor in visitors[1:]:
            visitor.leave()
        await one_by_one(apis, GOOD[:1])  # the turn that has brought them has ended
        assert visitors[0].said.done()

    with make() as apis:
        run(main(apis))
        assert in_flight(apis) == [0, 0]
        requests = {key: number for key, number in apis.metrics.requests.cells() if key[-1] == "CANCELLED"}
    assert requests == {
        ("m", "2", DEFAULT_SIGNATURE, "predict", "REST", "CANCELLED"): 1,
        ("m", "2", DEFAULT_SIGNATURE, "Predict", "GRPC", "CANCELLED"): 1,
    }


@pytest.mark.parametrize("wire", ["REST", "GRPC"])
def test_what_cannot_be_answered_in_time_is_refused_unread_and_counted(wire: str) -> None:
    message = call("", [1.0], (), 2)[1]
    path = "/v1/models/m/versions/2:predict"
    sent = (path, b'{"instances": [1.0]}') if wire == "REST" else ("", message)
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, [sent] * 2)
            assert all(visitor.gathered for visitor in await all_at_once(apis, [sent] * 2))
            road: Any = apis.rest_api.road("POST", path, {}) if wire == "REST" else apis.grpc_services.roads[PREDICT]
            assert road.refusal(sent[1], len(sent[1]), 1.0) is None
            lane = road._last.lane
            lane.guests, lane._pace = 1000, 1.0
            refused = [road.refusal(sent[1], len(sent[1]), 1.0) for _ in range(3)]
            assert "1000 requests wait" in refused[0].message
            assert refused[0] is refused[1] is refused[2]
            assert road.refusal(b"", 0, 1.0) is None  # as nothing says that it is like the others
            lane.guests = 0

        run(main())
        key = ("m", "2", DEFAULT_SIGNATURE, "predict" if wire == "REST" else "Predict", wire, "UNAVAILABLE")
        assert dict(apis.metrics.requests.cells())[key] == 3
        assert in_flight(apis) == [0, 0]


def road_of(apis: InProcess, sent: Sent) -> Any:
    return apis.rest_api.road("POST", sent[0], {}) if sent[0] else apis.grpc_services.roads[PREDICT]


async def ask(apis: InProcess, sent: Sent) -> Any:
    """What a request is told: the code of its refusal, read or unread, or 200."""
    path, message = sent
    road = road_of(apis, sent)
    error = road.refusal(b"head" + message if path else message, len(message), PATIENCE)
    if error is not None:
        return error.code
    if path:
        visitor = send(apis, sent, by_road=True)
    else:
        visitor = Visitor(lambda body: GrpcRequest(PREDICT, body, PATIENCE))
        assert road.take(message, visitor, PATIENCE)
    return (await visitor.said)[0]


PATH_2 = "/v1/models/m/versions/2:predict"
REST_1 = (PATH_2, b'{"instances": [1.0]}')
REST_LIKE_IT = (PATH_2, b'{"instances": [3.5]}')
TWO = b'"instances": [{"x": 1.0, "n": 2}]'
BOTH = ("y", "twice")


@pytest.mark.parametrize(
    ("one", "like_it", "other"),
    [
        (REST_1, REST_LIKE_IT, (PATH_2, b'{%s, "signature_name": "two"}' % TWO)),
        (REST_1, REST_LIKE_IT, (PATH_2, b'{"signature_name": "two", %s}' % TWO)),
        (REST_1, REST_LIKE_IT, (PATH_2, b'{%s, "signature_name": "two", "unread": []}' % TWO)),
        (REST_1, REST_LIKE_IT, (PATH_2, b'{%s, "signature\\u005fname": "two", "unread": []}' % TWO)),
        (REST_1, REST_LIKE_IT, (PATH_2, b'{"unread": [], %s, "signature_name": "two", "other": "]"}' % TWO)),
        (call("", [1.0], (), 2), call("", [2.0], (), 2), call("two", [1.0], (), 2)),
        (call("two", [1.0], (), 2), call("two", [2.0], (), 2), call("two", [1.0], ("y",), 2)),
        (call("two", [1.0], ("y",), 2), call("two", [2.0, 3.0], ("y",), 2), call("two", [1.0], (), 2)),
        (call("two", [1.0], ("y",), 2), call("two", [2.0, 3.0], ("y",), 2), call("two", [1.0], ("twice",), 2)),
        (call("two", [1.0], ("y",), 2), call("two", [2.0, 3.0], ("y",), 2), call("two", [1.0], BOTH, 2)),
        (call("two", [1.0], BOTH, 2), call("two", [2.0, 3.0], BOTH, 2), call("two", [1.0], ("y",), 2)),
    ],
)
def test_a_request_is_judged_by_those_that_wait_for_the_same_signature_and_outputs(
    one: Sent, like_it: Sent, other: Sent
) -> None:
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, [one, like_it, other] * 2)
            await all_at_once(apis, [other] * 2)
            # Some are not looked at after one that does not gather.
            assert all(visitor.gathered for visitor in (await all_at_once(apis, [like_it, one] * 10))[-2:])
            road = road_of(apis, one)
            crowded = road._last.lane
            crowded.guests, crowded._pace = 1000, 1.0
            for _ in range(2):
                assert await ask(apis, one) is Code.UNAVAILABLE
                assert await ask(apis, like_it) is Code.UNAVAILABLE
                assert road.refusal(like_it[1], len(like_it[1]), PATIENCE) is not None  # now it has not been read
                standing = None if one[0] else road.standing_refusal(PATIENCE)
                if standing is not None:
                    assert standing[0](one[1])
                    assert not standing[0](other[1])
                assert await ask(apis, other) == 200
                # Not by the lane of the last one, where nobody waits.
                assert Code.UNAVAILABLE in [await ask(apis, one) for _ in range(9)]
                assert road._last.lane is crowded
            crowded.guests = 0

        run(main())


@pytest.mark.parametrize("sent", [(PATH, b'{"instances": [1.0]}'), call("", [1.0], (), None)], ids=["REST", "GRPC"])
def test_nobody_is_refused_by_those_who_wait_for_a_version_that_is_not_the_latest_any_more(sent: Sent) -> None:
    with make() as apis:
        apis.serve("m", 1)

        async def main() -> None:
            await one_by_one(apis, [sent] * 2)
            assert all(visitor.gathered for visitor in await all_at_once(apis, [sent] * 2))
            crowded = road_of(apis, sent)._last.lane
            crowded.guests, crowded._pace = 1000, 1.0
            assert await ask(apis, sent) is Code.UNAVAILABLE
            apis.serve("m", 1, 2)
            if not sent[0]:
                assert road_of(apis, sent).standing_refusal(PATIENCE) is None
            await one_by_one(apis, [sent])  # the new version has heard of such requests
            assert await ask(apis, sent) == 200
            crowded.guests = 0

        run(main())


def labelled() -> Sent:
    request = messages.PredictRequest.FromString(call("", [1.0], (), None)[1])
    request.model_spec.version_label = "old"
    return "", request.SerializeToString()


@pytest.mark.parametrize(
    "sent", [("/v1/models/m/labels/old:predict", b'{"instances": [1.0]}'), labelled()], ids=["REST", "GRPC"]
)
def test_nobody_is_refused_by_those_who_wait_for_a_version_that_a_label_stood_for(sent: Sent) -> None:
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, [sent] * 2)
            assert all(visitor.gathered for visitor in await all_at_once(apis, [sent] * 2))
            crowded = road_of(apis, sent)._last.lane
            assert crowded.version == "1"
            crowded.guests, crowded._pace = 1000, 1.0
            for _ in range(2):
                assert await ask(apis, sent) is Code.UNAVAILABLE
            apis.manager.labels.configure("m", {"old": 2})
            if not sent[0]:
                assert road_of(apis, sent).standing_refusal(PATIENCE) is None
            await one_by_one(apis, [sent])  # the version has heard of such requests
            assert await ask(apis, sent) == 200
            assert road_of(apis, sent)._last.lane.version == "2"
            crowded.guests = 0

        run(main())


@pytest.mark.parametrize("wire", ["REST", "GRPC"])
def test_no_more_than_the_bound_wait_however_small_it_is(wire: str) -> None:
    message = call("", [1.0], (), 2)[1]
    path = "/v1/models/m/versions/2:predict"
    sent = (path, b'{"instances": [1.0]}') if wire == "REST" else ("", message)
    with make(QueueBounds(requests=3)) as apis:

        async def main() -> None:
            await one_by_one(apis, [sent] * 2)
            assert all(visitor.gathered for visitor in await all_at_once(apis, [sent] * 2))
            road: Any = apis.rest_api.road("POST", sent[0], {}) if wire == "REST" else apis.grpc_services.roads[PREDICT]
            visitors = []
            refused = 0
            for _ in range(20):
                if road.refusal(sent[1], len(sent[1]), 1.0) is None:
                    visitors.append(send(apis, sent, by_road=True))
                else:
                    refused += 1
            assert road._last.lane.guests == 3
            await asyncio.gather(*(visitor.said for visitor in visitors))
            assert all(visitor.gathered for visitor in visitors)
            assert refused + len(visitors) == 20
            assert len(visitors) <= 4  # one may have run at once

        run(main())


@pytest.mark.parametrize("wire", ["REST", "GRPC"])
@pytest.mark.parametrize("bounds", [QueueBounds(requests=70), QueueBounds(input_bytes=40)])
def test_hardly_more_than_the_bounds_wait_for_all_models_together(wire: str, bounds: QueueBounds) -> None:
    path = "/v1/models/m/versions/{}:predict"
    sent = {
        version: (path.format(version), b'{"instances": [1.0]}') if wire == "REST" else call("", [1.0], (), version)
        for version in (1, 2)
    }
    with make(bounds) as apis:

        async def main() -> None:
            visitors, refused = [], 0
            for one in sent.values():
                await one_by_one(apis, [one] * 2)
                assert all(visitor.gathered for visitor in await all_at_once(apis, [one] * 2))
            for one in sent.values():
                road: Any = apis.rest_api.road("POST", one[0], {}) if one[0] else apis.grpc_services.roads[PREDICT]
                for _ in range(50):
                    if road.refusal(one[1], len(one[1]), None) is None:
                        visitors.append(send(apis, one, by_road=True))
                    else:
                        refused += 1
            assert apis.engine._room.requests <= bounds.requests * 17 // 16
            assert apis.engine._room.input_bytes <= bounds.input_bytes
            said = [await visitor.said for visitor in visitors]
            refused += sum(code is Code.UNAVAILABLE for code, _ in said)
            assert refused >= 24
            assert refused + sum(code == 200 for code, _ in said) == 100
            assert all(visitor.gathered for visitor in await all_at_once(apis, list(sent.values()) * 2))

        run(main())
        assert in_flight(apis) == [0, 0]


def test_a_refusal_stands_for_calls_with_the_same_patience_until_somebody_is_let_out() -> None:
    message = call("", [1.0], (), 2)[1]
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, [("", message)] * 2)
            visitors = await all_at_once(apis, [("", message)] * 2)
            assert all(visitor.gathered for visitor in visitors)
            road: Any = apis.grpc_services.roads[PREDICT]
            assert road.standing_refusal(1.0) is None
            lane = road._last.lane
            lane.guests, lane._pace = 1000, 1.0
            refused = road.refusal(message, len(message), 1.0)
            is_refused, error = road.standing_refusal(1.0)
            assert error is refused
            assert is_refused(message)
            assert not is_refused(call("", [1.0], (), 1)[1])
            assert road.standing_refusal(2.0) is None
            assert road.standing_refusal(None) is None
            road.count_refused(20, 20 * len(message))
            lane.guests = 0
            await all_at_once(apis, [("", message)] * 2)
            assert road.standing_refusal(1.0) is None

        run(main())
        key = ("m", "2", DEFAULT_SIGNATURE, "Predict", "GRPC", "UNAVAILABLE")
        assert dict(apis.metrics.requests.cells())[key] == 21
        assert dict(apis.metrics.batching.refused.cells())[("m", "2", DEFAULT_SIGNATURE)] == 21
        assert in_flight(apis) == [0, 0]


def test_what_cannot_be_answered_in_time_is_refused_however_its_message_is_written() -> None:
    named = call("", [1.0], (), 2)[1]
    request = messages.PredictRequest.FromString(named)
    inputs = messages.PredictRequest(inputs=request.inputs).SerializeToString()
    behind = inputs + messages.PredictRequest(model_spec=request.model_spec).SerializeToString()
    many = [("", named), call("", [1.0], (), None), ("", behind)]
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, many)
            assert all(visitor.gathered for visitor in await all_at_once(apis, many * 2))
            road: Any = apis.grpc_services.roads[PREDICT]
            lane = road._last.lane
            lane.guests, lane._pace = 1000, 1.0
            for _, message in [*many, *many[::-1]]:
                if road.refusal(message, len(message), 1.0) is None:
                    visitor = Visitor(lambda body: GrpcRequest(PREDICT, body, PATIENCE))
                    assert road.take(message, visitor, 1.0)
                    assert visitor.said.done(), "it waits with all the others"
                    assert visitor.said.result()[0] is Code.UNAVAILABLE
            assert lane.guests == 1000
            lane.guests = 0

        run(main())
        assert in_flight(apis) == [0, 0]


def test_no_version_that_is_gone_is_kept_by_what_was_sent_to_it() -> None:
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, GOOD)
            await all_at_once(apis, GOOD * 2)

        run(main())
        found = apis.manager.find(ModelSpec("m"))
        assert found is not None
        handle = ref(found)
        del found
        apis.serve("m", 1)
        assert handle() is None


def test_the_time_in_which_a_request_has_gathered_counts_towards_its_deadline() -> None:
    seven = json.dumps({"instances": [7.0]}).encode()  # which cannot be run together with others
    with make() as apis:
        waits: list[float] = []
        run_checked = apis.rest_api._predict.run_checked

        async def noted(*arguments: Any) -> Any:
            waits.append(arguments[-1])
            return await run_checked(*arguments)

        async def main() -> None:
            await one_by_one(apis, [(PATH, b'{"instances": [1.0]}')] * 2)
            send(apis, (PATH, b'{"instances": [1.0]}'), by_road=True)  # nobody after this one comes alone
            visitors = [send(apis, (PATH, body), by_road=True) for body in (seven, b'{"instances": [1.0]}')]
            apis.rest_api._predict.run_checked = noted  # type: ignore[method-assign]
            await asyncio.gather(*(visitor.said for visitor in visitors))

        run(main())
    assert len(waits) == 2
    assert all(0 < seconds < PATIENCE for seconds in waits)


def in_flight(apis: InProcess) -> list[float]:
    return [number for _, number in apis.metrics.requests_in_flight.cells()]


class Rooms:
    """A gatherer where seats may be taken or not, as a test says."""

    def __init__(self) -> None:
        self.open: set[Any] = set()
        self.asked = 0

    def may_gather(self, seat: Any) -> bool:
        self.asked += 1
        return seat in self.open


def test_requests_like_one_that_may_not_gather_are_looked_at_again_as_soon_as_it_may() -> None:
    rooms, seat = Rooms(), object()
    patience = Patience(rooms)  # type: ignore[arg-type]
    assert patience.is_worth_it()
    assert not patience.found(seat)  # type: ignore[arg-type]
    assert [patience.is_worth_it() for _ in range(5)] == [False] * 5
    rooms.open.add(seat)
    for _ in range(3):
        before = rooms.asked
        assert patience.is_worth_it()
        assert patience.asked is seat
        assert rooms.asked == before + 1


def test_now_and_then_another_kind_of_request_is_looked_for() -> None:
    rooms, blocked, free = Rooms(), object(), object()
    rooms.open.add(free)
    patience = Patience(rooms)  # type: ignore[arg-type]
    for found in (blocked, None):
        patience.found(found)  # type: ignore[arg-type]
        for _ in range(2):
            looks = [patience.is_worth_it() for _ in range(20)]
            assert 0 < sum(looks) < 15
            patience.found(found)  # type: ignore[arg-type]
        assert patience.found(free)  # type: ignore[arg-type]
        assert patience.is_worth_it()


def counted(apis: InProcess) -> dict[Any, int]:
    """How many requests there have been of each kind, runs for each, and bytes."""
    metrics = apis.metrics
    named = {
        "requests": metrics.requests,
        "received": metrics.received_bytes,
        "sent": metrics.sent_bytes,
        "original": metrics.request_count,
    }
    cells: dict[Any, Any] = {(name, key): v for name, each in named.items() for key, v in each.cells()}
    histograms = {
        "duration": metrics.request_duration,
        "codec": metrics.codec_duration,
        "run": metrics.run_duration,
        "queue": metrics.queue_duration,
        "latency": metrics.request_latency,
    }
    for name, histogram in histograms.items():
        cells |= {(name, key): sum(cell.counts) for key, cell in histogram.cells()}
    return cells


GOOD = [
    *[(PATH, json.dumps({"instances": [float(number)]}).encode()) for number in range(6)],
    *[call("", [float(number)], (), None) for number in range(6)],
]


def test_those_that_gather_are_counted_like_all_others() -> None:
    with make() as gathering, make() as plain:

        async def twice(apis: InProcess, rest: Callable[[], Coroutine[Any, Any, Any]]) -> None:
            await one_by_one(apis, GOOD)
            await rest()

        async def together() -> None:
            visitors = await all_at_once(gathering, GOOD)
            assert all(visitor.gathered for visitor in visitors)

        run(twice(gathering, together))
        run(twice(plain, lambda: one_by_one(plain, GOOD)))
        assert counted(gathering) == counted(plain)
        assert all(number == 0 for number in dict(gathering.metrics.requests_in_flight.cells()).values())
        runs = dict(gathering.metrics.graph_runs.cells())[()]
        # The first that comes runs at once; all others of both APIs share a run.
        assert dict(plain.metrics.graph_runs.cells())[()] == runs + len(GOOD) - 2


def test_those_that_cannot_be_answered_where_they_gathered_are_counted_once() -> None:
    bad = [(PATH, json.dumps({"instances": [7.0]}).encode()), call("", [7.0], (), None)]
    with make() as gathering, make() as plain:

        async def main(apis: InProcess, last: Callable[..., Coroutine[Any, Any, Any]]) -> None:
            await one_by_one(apis, GOOD)
            await last(apis, [*GOOD, *bad])

        run(main(gathering, all_at_once))
        run(main(plain, one_by_one))
        requests = {key: number for key, number in counted(gathering).items() if key[0] in ("requests", "original")}
        assert requests == {key: n for key, n in counted(plain).items() if key[0] in ("requests", "original")}
        assert all(number == 0 for number in dict(gathering.metrics.requests_in_flight.cells()).values())


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", PATH, {}),
        ("POST", "/v1/models/m:classify", {}),
        ("POST", "/v1/models/m:PREDICT", {}),
        ("POST", "/v1/models/m", {}),
        ("POST", PATH, {"content-encoding": "gzip"}),
        ("POST", PATH, {"content-type": "application/x-npy"}),
        ("POST", PATH, {"accept": "application/x-protobuf"}),
    ],
)
def test_only_predict_in_json_has_a_road(
    gathering: InProcess, method: str, path: str, headers: Mapping[str, str]
) -> None:
    assert gathering.rest_api.road(method, path, headers) is None
    assert gathering.rest_api.road("POST", PATH, {"content-type": "application/json"}) is not None


def test_answers_that_are_large_are_written_on_the_usual_way_from_then_on(gathering: InProcess) -> None:
    many = [(PATH, json.dumps({"signature_name": "wide", "instances": [float(number)]}).encode()) for number in (1, 2)]

    async def main() -> None:
        alone = await one_by_one(gathering, many)
        for _ in range(2):
            visitors = await all_at_once(gathering, many)
            assert [visitor.said.result() for visitor in visitors] == alone
            assert not any(visitor.gathered for visitor in visitors)

    run(main())


def test_those_that_have_gathered_for_a_version_that_is_gone_are_answered_by_the_next() -> None:
    with make() as apis:

        async def main() -> None:
            await one_by_one(apis, GOOD)
            send(apis, GOOD[0], by_road=True)  # nobody after this one comes alone
            later = [send(apis, sent, by_road=True) for sent in (GOOD[1], GOOD[7])]
            assert not any(visitor.said.done() for visitor in later)
            apis.serve("m", 1)
            assert json.loads((await later[0].said)[1]) == {"predictions": [2.0]}
            response = messages.PredictResponse.FromString((await later[1].said)[1])
            assert response.model_spec.version.value == 1

        run(main())


def test_a_message_that_is_known_goes_to_the_version_that_it_names_now() -> None:
    labelled = messages.PredictRequest.FromString(GOOD[7][1])
    labelled.model_spec.version_label = "old"
    many = [GOOD[7], ("", labelled.SerializeToString())]
    with make() as apis:

        async def versions() -> list[tuple[int, float]]:
            await one_by_one(apis, many)
            answers = []
            for visitor in await all_at_once(apis, many * 2):
                assert visitor.gathered
                response = messages.PredictResponse.FromString(visitor.said.result()[1])
                answers.append((response.model_spec.version.value, response.outputs["y"].float_val[0]))
            assert answers[:2] == answers[2:]
            return answers[:2]

        async def main() -> None:
            assert await versions() == [(2, 3.0), (1, 2.0)]
            apis.manager.labels.configure("m", {"old": 2})
            assert await versions() == [(2, 3.0), (2, 3.0)]
            apis.serve("m", 1)
            apis.manager.labels.configure("m", {"old": 1})
            assert await versions() == [(1, 2.0), (1, 2.0)]

        run(main())


@pytest.mark.parametrize("last", [6.0, 7.0])
def test_each_of_those_who_run_on_a_thread_while_others_are_refused_has_the_answer_that_it_has_alone(
    plain: InProcess, monkeypatch: pytest.MonkeyPatch, last: float
) -> None:
    monkeypatch.setenv(CPUS_VARIABLE, "2")
    sent = [
        (PATH, json.dumps({"instances": [number]}).encode()) if number % 2 else call("", [number], (), None)
        for number in (1.0, 2.0, 3.0, 4.0, 5.0, last)
    ]
    expected = run(one_by_one(plain, sent))
    on_loop: list[bool] = []
    usual_run = ToyServable.run

    def note(servable: ToyServable, *about: Any) -> dict[str, Array]:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return usual_run(servable, *about)

    with make() as apis:

        async def main() -> list[Visitor]:
            await one_by_one(apis, sent[:-1])
            await all_at_once(apis, sent[:-1])
            for _, lanes in apis.engine._lanes._versions._entries.values():
                for lane in lanes.values():
                    lane.times._entries.clear()
                    lane.times.learn(4, 0.9 * INLINE_SECONDS)
                    lane.refused_at, lane.refused_patience = 1000.0, 1.0
            monkeypatch.setattr(ToyServable, "run", note)
            return await all_at_once(apis, sent)

        visitors = run(main())
        assert in_flight(apis) == [0, 0]
    assert [visitor.said.result() for visitor in visitors] == expected
    assert not on_loop[0]
    assert all(visitor.gathered is (last != 7) for visitor in visitors)

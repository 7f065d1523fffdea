from __future__ import annotations

import asyncio
import gzip
import json
import threading

import numpy as np
import pytest
from tests.support.in_process import PATIENCE, PREDICT, InProcess, adder

from hotserve.api import predict_formats
from hotserve.api.codec_threads import LARGE_BYTES, LARGE_PACKED_BYTES, LARGE_TEXT_BYTES, CodecThreads, size_of
from hotserve.api.exchange import GrpcRequest, RestRequest, RestResponse
from hotserve.codecs.json_apart import APART_BYTES, ApartProcesses, ReadApart
from hotserve.codecs.json_predict import PredictBody, read_predict_body
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.core.served_versions import ModelSpec
from hotserve.errors import Unavailable
from hotserve.protos.messages import PredictRequest, PredictResponse
from hotserve.tensors import DType

PATH = "/v1/models/m:predict"


def _large_json() -> bytes:
    return json.dumps({"instances": [1.5] * (LARGE_TEXT_BYTES // 4)}).encode()


class Barrier:
    """Reads bodies, and holds back those that are read on other threads than the loop's until `open`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.entered = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.threads: list[str] = []
        monkeypatch.setattr(predict_formats, "read_predict_body", self._read)

    def _read(self, body: bytes) -> PredictBody:
        thread = threading.current_thread()
        self.threads.append(thread.name)
        if thread is not threading.main_thread():
            self.loop.call_soon_threadsafe(self.entered.set)
            assert self.open.wait(PATIENCE)
        return read_predict_body(body)


async def _post(api: InProcess, body: bytes, **headers: str) -> RestResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.rest_api.handle(RestRequest("POST", PATH, names, body))


def test_small_requests_are_answered_while_a_large_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        with InProcess({"m": {1: adder(1.0)}}) as api:
            barrier = Barrier(monkeypatch)
            large = asyncio.ensure_future(_post(api, _large_json()))
            await asyncio.wait_for(barrier.entered.wait(), PATIENCE)
            small = await _post(api, b'{"instances": [2.0]}')
            assert json.loads(small.body) == {"predictions": [3.0]}
            assert not large.done()
            barrier.open.set()
            answer = await large
            assert answer.status == 200
            assert len(json.loads(answer.body)["predictions"]) == LARGE_TEXT_BYTES // 4
            assert barrier.threads[0].startswith("hotserve-codec")
            assert barrier.threads[1] == threading.main_thread().name

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [LARGE_PACKED_BYTES, LARGE_TEXT_BYTES])
def test_a_packed_body_is_unpacked_on_a_thread(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    async def scenario() -> None:
        with InProcess({"m": {1: adder(1.0)}}) as api:
            barrier = Barrier(monkeypatch)
            barrier.open.set()
            numbers = np.random.default_rng(1).random(size).round(4).tolist()
            body = gzip.compress(json.dumps({"instances": numbers}).encode())
            assert len(body) > LARGE_PACKED_BYTES
            assert (await _post(api, body, content_encoding="gzip")).status == 200
            assert barrier.threads[0].startswith("hotserve-codec")

    asyncio.run(scenario())


def test_so_many_large_requests_are_read_at_once_and_one_that_waits_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        with InProcess({"m": {1: adder(1.0)}}) as api:
            api.rest_api.codec_threads = CodecThreads(1)
            barrier = Barrier(monkeypatch)
            body = _large_json()
            first = asyncio.ensure_future(_post(api, body))
            await asyncio.wait_for(barrier.entered.wait(), PATIENCE)
            second, third = asyncio.ensure_future(_post(api, body)), asyncio.ensure_future(_post(api, body))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert len(barrier.threads) == 1
            barrier.open.set()
            assert (await first).status == (await third).status == 200
            assert len(barrier.threads) == 2

    asyncio.run(scenario())


def test_a_version_is_held_until_work_on_its_answer_has_ended_even_if_the_request_is_gone() -> None:
    servable = adder(1.0)
    entered, go_on = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        assert go_on.wait(PATIENCE)

    async def scenario(api: InProcess) -> None:
        threads = CodecThreads()
        with api.manager.lease(ModelSpec("m")) as lease:
            task = asyncio.ensure_future(threads.run_with(lease, work))
            await asyncio.to_thread(entered.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        api.source.aspire("m")
        assert not servable.unloaded.is_set()
        go_on.set()
        assert await asyncio.to_thread(servable.unloaded.wait, PATIENCE)
        threads.close()

    with InProcess({"m": {1: servable}}) as api:
        asyncio.run(scenario(api))


def test_no_message_waits_for_those_that_processes_read() -> None:
    go_on = threading.Event()

    def wait(processes: ApartProcesses) -> str:
        assert go_on.wait(PATIENCE)
        return threading.current_thread().name

    def apart() -> str:
        raise ReadApart(wait)

    async def scenario() -> None:
        threads = CodecThreads(1)
        slow = [asyncio.ensure_future(threads.run(apart)) for _ in range(3)]
        assert await threads.run(len, "abc") == 3
        go_on.set()
        assert {name.rpartition("_")[0] for name in await asyncio.gather(*slow)} == {"hotserve-apart"}
        threads.close()

    asyncio.run(scenario())


def test_bodies_that_have_a_process_are_read_before_those_that_have_none() -> None:
    gate, entered = threading.Event(), threading.Event()
    order: list[str] = []

    async def read(threads: CodecThreads, name: str, *, has_begun: bool) -> None:
        def begin() -> None:
            raise ReadApart(go_on, has_begun=has_begun)

        def go_on(processes: ApartProcesses) -> None:
            entered.set()
            assert gate.wait(PATIENCE)
            order.append(name)

        await threads.run(begin)

    async def scenario() -> None:
        threads = CodecThreads(1)
        asked = ("first", False), ("new", False), ("dropped", True), ("begun", True)
        tasks = []
        for name, has_begun in asked:
            tasks.append(asyncio.ensure_future(read(threads, name, has_begun=has_begun)))
            await asyncio.sleep(0)
            await threads.run(int)  # behind it
            await asyncio.sleep(0)
            assert await asyncio.to_thread(entered.wait, PATIENCE)
        tasks[2].cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.wait_for(asyncio.wait(tasks), PATIENCE)
        threads.close()

    asyncio.run(scenario())
    assert order == ["first", "begun", "new"]


def test_what_waits_for_a_process_is_dropped_at_the_end() -> None:
    gate, entered = threading.Event(), threading.Event()

    def begin() -> None:
        raise ReadApart(go_on)

    def go_on(processes: ApartProcesses) -> None:
        entered.set()
        assert gate.wait(PATIENCE)

    async def scenario() -> None:
        threads = CodecThreads(1)
        tasks = [asyncio.ensure_future(threads.run(begin)) for _ in range(2)]
        for _ in range(3):
            await threads.run(int)
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        threads.close()
        gate.set()
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        assert found[0] is None
        assert isinstance(found[1], asyncio.CancelledError)

    asyncio.run(scenario())


def test_what_is_closed_takes_no_work() -> None:
    threads = CodecThreads()
    threads.close()
    with pytest.raises(Unavailable, match="Send the request again"):
        asyncio.run(threads.run(len, "abc"))


def test_large_bodies_of_unusual_form_are_answered_and_refused_as_small_ones_are() -> None:
    with InProcess({"m": {1: adder(1.0)}}) as api:
        for number in (1, APART_BYTES // 5):
            rows = b"1.5, " * number
            status, said = api.predict(PATH, b'{"instances": [' + rows + b'2], "other": [null]}')
            assert (status, said["predictions"][-2:]) == (200, [2.5, 3.0])
            status, said = api.predict(PATH, b'{"instances": [' + rows + b'"text"]}')
            assert status == 400
            assert said["error"].startswith(f"Failed to process element: {number} of 'instances' list. Error: ")
            assert said["error"].endswith("Inputs of signature serving_default: x: float [?].")
            status, said = api.predict(PATH.replace("predict", "classify"), b'{"examples": [' + rows + b"2]}")
            assert status == 400
            assert said["error"].startswith("Example must be JSON object but got JSON Number")


def test_errors_of_large_bodies_are_those_of_small_ones() -> None:
    with InProcess({"m": {1: adder(1.0)}}) as api:
        status, said = api.predict(PATH, b'{"instances": [' + b"1," * LARGE_TEXT_BYTES + b"]}")
        assert status == 400
        assert said["error"].startswith("JSON Parse error: Invalid value. at offset:")
        status, said = api.predict(PATH, json.dumps({"instances": ["a" * LARGE_TEXT_BYTES]}).encode())
        assert status == 400
        assert "is not of expected type: float" in said["error"]


@pytest.mark.parametrize("as_content", [True, False], ids=["tensor_content", "typed"])
def test_a_large_predict_request_gets_its_answer_over_both_apis(as_content: bool) -> None:
    values = np.arange(LARGE_BYTES // 2, dtype=np.float32)
    request = PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(encode_tensor(values, DType.FLOAT, as_content))
    with InProcess({"m": {1: adder(1.0)}}) as api:
        called = api.call(PREDICT, request)
        posted = api.rest("POST", PATH, request.SerializeToString(), content_type="application/x-protobuf")
    assert called.error is None
    assert posted.body == called.message
    response = PredictResponse.FromString(called.message)
    np.testing.assert_array_equal(decode_tensor(response.outputs["y"]), values + 1)
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "serving_default")


def test_a_large_message_that_is_none_is_refused_as_a_small_one_is() -> None:
    with InProcess({"m": {1: adder(1.0)}}) as api:
        small = api.call(PREDICT, b"\xff" * 10)
        large = api.call(PREDICT, b"\xff" * LARGE_BYTES)
    assert small.error is not None
    assert large.error is not None
    assert large.error.message == small.error.message.replace("The 10 bytes", f"The {LARGE_BYTES} bytes")


def test_the_size_of_tensors_is_that_of_their_values() -> None:
    strings = np.array([b"a" * 1000, "b" * 500], object)
    assert size_of({"x": np.zeros(10, np.float32), "s": strings}) == 40 + 16 + 1500


def test_a_call_over_grpc_that_is_given_up_while_its_message_waits_is_not_read() -> None:
    async def scenario() -> None:
        with InProcess({"m": {1: adder(1.0)}}) as api:
            threads = CodecThreads(1)
            api.grpc_services._codec_threads = threads
            entered, go_on = threading.Event(), threading.Event()

            def block() -> None:
                entered.set()
                assert go_on.wait(PATIENCE)

            blocking = asyncio.ensure_future(threads.run(block))
            await asyncio.to_thread(entered.wait, PATIENCE)
            call = asyncio.ensure_future(api.grpc_services.call(GrpcRequest(PREDICT, bytes(LARGE_BYTES), None)))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            go_on.set()
            await blocking

    asyncio.run(scenario())

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import pytest

from hotserve.errors import Unavailable
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.pace import ClosedPace, OpenPace
from hotserve.loadgen.run import CONNECTION, DIFFERENT, TIMEOUT, UNSENT, Hooks, Judge, Outcome, Run, Work
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from support.scripted_server import HANG_UP, SILENCE, ScriptedServer, answer

GOOD = answer(b"fine")
BODIES = [Request("/a", b"first"), Request("/b", b"second")]
LONG = 60.0


def work(server: ScriptedServer, timeout: float = LONG, judge: Judge | None = None) -> Work:
    connect = Server(Access(read_target(server.url))).connect
    return Work(connect, BODIES, judge, timeout)


def closed(
    server: ScriptedServer,
    requests: int | None,
    connections: int = 1,
    seconds: float = LONG,
    timeout: float = LONG,
    judge: Judge | None = None,
    hooks: Hooks | None = None,
) -> Outcome:
    run = Run(work(server, timeout, judge), connections, hooks)
    run.open()
    return run.go(ClosedPace(time.perf_counter_ns(), 0, seconds, requests))


def open_loop(
    server: ScriptedServer, rate: float, requests: int | None, seconds: float = LONG, timeout: float = LONG
) -> Outcome:
    run = Run(work(server, timeout), 1)
    run.open()
    return run.go(OpenPace(time.perf_counter_ns(), 0, seconds, requests, rate=rate, poisson_seed=None))


def failures(outcome: Outcome) -> dict[str, int]:
    return {kind: of_a_kind.latencies.count for kind, of_a_kind in outcome.tally.failures.items()}


def every(script: Callable[[int], bytes | None]) -> ScriptedServer:
    return ScriptedServer(script)


def test_requests_take_turns_and_every_byte_is_counted() -> None:
    with every(lambda number: GOOD) as server:
        outcome = closed(server, 5)
    assert (outcome.tally.good.count, outcome.tally.failed, outcome.is_stopped) == (5, 0, False)
    assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [
        b"first",
        b"second",
        b"first",
        b"second",
        b"first",
    ]
    assert outcome.received_bytes == 5 * len(GOOD)
    assert outcome.sent_bytes == sum(map(len, server.requests))
    assert outcome.seconds > 0


def test_each_connection_has_one_request_under_way() -> None:
    gate = threading.Barrier(3, timeout=30)

    def script(number: int) -> bytes:
        gate.wait()  # lets nobody through before three requests are here
        return GOOD

    with every(script) as server:
        outcome = closed(server, 9, connections=3)
    assert server.connections == 3
    assert outcome.tally.good.count == 9


def test_an_answer_that_is_an_error_is_a_failure_with_its_text_and_the_connection_goes_on() -> None:
    with every(lambda number: answer(b"too much", "503 Busy") if number % 2 else GOOD) as server:
        outcome = closed(server, 6)
    assert (outcome.tally.good.count, failures(outcome)) == (3, {"503": 3})
    assert outcome.tally.failures["503"].first_text == "too much"
    assert server.connections == 1


def test_a_connection_that_the_server_ends_in_order_is_made_again() -> None:
    with every(lambda number: answer(b"fine", "200 OK", "connection: close")) as server:
        outcome = closed(server, 4)
    assert (outcome.tally.good.count, outcome.tally.failed) == (4, 0)
    assert server.connections >= 4


def test_a_connection_that_is_lost_is_a_failure_and_is_made_again() -> None:
    with every(lambda number: HANG_UP if number == 1 else GOOD) as server:
        outcome = closed(server, 4)
    assert (outcome.tally.good.count, failures(outcome)) == (3, {CONNECTION: 1})
    assert "closed the connection" in outcome.tally.failures[CONNECTION].first_text


def test_what_is_no_answer_is_a_failure() -> None:
    with every(lambda number: GOOD if number else b"hello\r\n\r\n") as server:
        outcome = closed(server, 2)
    assert failures(outcome) == {CONNECTION: 1}


def test_a_server_that_is_gone_fails_the_requests_until_the_time_is_over() -> None:
    with every(lambda number: HANG_UP) as server:
        run = Run(work(server), 2)
        run.open()
        server.stop_listening()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, 0.5, None))
    assert outcome.tally.good.count == 0
    assert failures(outcome)[CONNECTION] >= 2


def test_an_answer_that_does_not_come_is_a_failure_after_the_timeout() -> None:
    with every(lambda number: GOOD if number != 1 else SILENCE) as server:
        outcome = closed(server, 3, timeout=0.3)
    assert (outcome.tally.good.count, failures(outcome)) == (2, {TIMEOUT: 1})
    assert outcome.tally.failures[TIMEOUT].latencies.smallest >= 0.3e9


def test_a_run_ends_though_nothing_is_ever_answered() -> None:
    with every(lambda number: SILENCE) as server:
        outcome = closed(server, None, seconds=0.1, timeout=0.2)
    assert failures(outcome) == {TIMEOUT: 1}


def test_wrong_answers_are_failures_with_what_is_wrong() -> None:
    with every(lambda number: answer(b"other") if number == 2 else GOOD) as server:
        outcome = closed(server, 4, judge=lambda number, body: "" if body == b"fine" else f"{number} is {body!r}")
    assert failures(outcome) == {DIFFERENT: 1}
    assert outcome.tally.failures[DIFFERENT].first_text == "0 is b'other'"


def test_requests_of_the_warm_up_do_not_count_but_are_sent() -> None:
    measured: list[int] = []
    with every(lambda number: GOOD) as server:
        run = Run(work(server), 1, Hooks(on_measured=lambda: measured.append(len(server.requests))))
        run.open()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0.2, LONG, 3))
    assert outcome.tally.requests == 3
    assert len(measured) == 1
    assert measured[0] > 0
    assert len(server.requests) >= measured[0] + 3 - 1
    assert outcome.received_bytes < len(server.requests) * len(GOOD)


def test_a_run_can_be_stopped_and_tells_what_was_measured_so_far() -> None:
    told: list[int] = []
    with every(lambda number: GOOD) as server:
        outcome = closed(
            server,
            None,
            hooks=Hooks(should_stop=lambda: len(told) > 2, on_time=lambda now, requests: told.append(requests)),
        )
    assert outcome.is_stopped
    assert outcome.tally.good.count >= told[-1] > 0


def test_in_an_open_loop_requests_that_wait_for_a_slow_server_count_from_when_they_were_due() -> None:
    # A hundred are due in 0.1 s, on one connection; the first answer takes half a second. A closed loop would see one
    # slow request and 99 fast ones.
    def script(number: int) -> bytes:
        if number == 0:
            time.sleep(0.5)
        return GOOD

    with every(script) as server:
        outcome = open_loop(server, rate=1000, requests=100)
    assert outcome.tally.good.count == 100
    assert outcome.tally.good.percentile(10) > 0.35e9


def test_in_an_open_loop_what_could_not_be_sent_is_counted() -> None:
    with every(lambda number: SILENCE) as server:
        outcome = open_loop(server, rate=50, requests=None, seconds=0.5, timeout=0.4)
    assert outcome.tally.good.count == 0
    assert failures(outcome)[TIMEOUT] >= 1
    assert failures(outcome)[UNSENT] >= 10
    assert sum(failures(outcome).values()) == 25


def test_the_lateness_of_the_load_itself_is_known() -> None:
    with every(lambda number: GOOD) as server:
        outcome = open_loop(server, rate=200, requests=20)
    assert 0 < outcome.tally.lateness.count <= 20
    assert outcome.tally.good.count == 20


def test_a_connection_that_cannot_be_opened_ends_the_run_before_it_begins() -> None:
    with every(lambda number: GOOD) as server:
        pass
    with pytest.raises(Unavailable, match="connection 1 of 3: Connection refused"):
        Run(work(server), 3).open()


def test_collections_of_garbage_are_as_they_were_after_a_run() -> None:
    with every(lambda number: GOOD) as server:
        closed(server, 1)
        assert gc.isenabled()
        gc.disable()
        try:
            closed(server, 1)
            assert not gc.isenabled()
        finally:
            gc.enable()

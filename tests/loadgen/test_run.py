from __future__ import annotations

import gc
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import pytest

from hotserve.errors import InvalidArgument, Unavailable
from hotserve.loadgen.compiled_loop import IS_COMPILED
from hotserve.loadgen.connection import Connection
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.pace import ClosedPace, OpenPace
from hotserve.loadgen.run import Run
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from hotserve.loadgen.work import CONNECTION, DIFFERENT, TIMEOUT, UNSENT, Hooks, Judge, Outcome, Work
from hotserve.tensors import Array
from support.scripted_server import HANG_UP, SILENCE, ScriptedServer, answer

GOOD = answer(b"fine")
BODIES = [Request("/a", b"first"), Request("/b", b"second")]
LONG = 60.0
METHOD = "/test.Service/Method"


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test is one of the compiled code, and one of what is there without it."""
    if request.param == "plain":
        monkeypatch.setattr("hotserve.loadgen.run.IS_COMPILED", False)
    elif not IS_COMPILED:
        pytest.skip("hotserve was installed without a C compiler, or not on Linux")
    return str(request.param)


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


def test_usual_answers_are_left_to_the_compiled_code(twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    advance = Connection.advance

    def counted(self: Connection) -> object:
        nonlocal looked
        looked += 1
        return advance(self)

    monkeypatch.setattr(Connection, "advance", counted)
    with every(lambda number: GOOD) as server:
        outcome = closed(server, 200, connections=2)
        outcome = outcome if outcome.tally.failed else open_loop(server, rate=1000, requests=100)
    assert outcome.tally.failed == 0
    assert (looked < 30) is (twin == "compiled")


def test_a_request_larger_than_the_socket_takes_is_sent_whole() -> None:
    large = [Request("/a", bytes(range(256)) * 20_000), Request("/b", b"small")]
    with every(lambda number: GOOD) as server:
        run = Run(Work(Server(Access(read_target(server.url))).connect, large), 2)
        run.open()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 8))
    assert (outcome.tally.good.count, outcome.tally.failed) == (8, 0)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    assert sorted(bodies) == sorted(request.body for request in large * 4)
    assert outcome.sent_bytes == sum(map(len, server.requests))


def test_a_large_answer_and_answers_of_other_lengths_are_taken_whole() -> None:
    sizes = [0, 5_000_000, 10, 100_000, 16_384, 3]
    with every(lambda number: answer(bytes(sizes[number % len(sizes)]))) as server:
        outcome = closed(server, 2 * len(sizes))
    assert (outcome.tally.good.count, outcome.tally.failed) == (2 * len(sizes), 0)
    assert outcome.received_bytes == 2 * sum(len(answer(bytes(size))) for size in sizes)


def test_an_answer_that_comes_byte_by_byte_is_one_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while connection.recv(65536):
                    for place in range(len(GOOD)):
                        connection.send(GOOD[place : place + 1])

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        run = Run(Work(Server(Access(read_target(url))).connect, BODIES), 1)
        run.open()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 4))
        thread.join()
    assert (outcome.tally.good.count, outcome.tally.failed) == (4, 0)
    assert outcome.received_bytes == 4 * len(GOOD)


def test_answers_in_chunks_are_good_and_each_byte_counts_once() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n"
    with every(lambda number: chunked if number % 2 else GOOD) as server:
        outcome = closed(server, 6)
    assert (outcome.tally.good.count, outcome.tally.failed) == (6, 0)
    assert outcome.received_bytes == 3 * (len(chunked) + len(GOOD))


def test_a_connection_that_ends_in_the_middle_of_an_answer_tells_how_much_had_come() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(GOOD)
                    connection.recv(65536)
                    connection.sendall(GOOD[:-1])

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        run = Run(Work(Server(Access(read_target(url))).connect, BODIES), 1)
        run.open()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 4))
        thread.join()
    assert (outcome.tally.good.count, failures(outcome)) == (2, {CONNECTION: 2})
    assert outcome.tally.failures[CONNECTION].first_text.endswith(f"after {len(GOOD) - 1} bytes of the answer")


def test_a_connection_that_is_reset_is_a_failure_in_the_words_of_the_system() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(GOOD)
                    connection.recv(65536)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        run = Run(Work(Server(Access(read_target(url))).connect, BODIES), 1)
        run.open()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 4))
        thread.join()
    assert (outcome.tally.good.count, failures(outcome)) == (2, {CONNECTION: 2})
    assert "reset" in outcome.tally.failures[CONNECTION].first_text


def test_a_connection_that_ends_between_two_requests_is_made_again_and_is_no_failure() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for number in range(2):
                connection, _ = listener.accept()
                with connection:
                    while connection.recv(65536):
                        connection.sendall(GOOD)
                        if number == 0:
                            break
                ended.set()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        run = Run(Work(Server(Access(read_target(url))).connect, BODIES), 1)
        run.open()
        # The second one is due when the first connection has been gone for long.
        outcome = run.go(OpenPace(time.perf_counter_ns(), 0, LONG, 3, rate=2, poisson_seed=None))
        thread.join()
    assert ended.is_set()
    assert (outcome.tally.good.count, outcome.tally.failed) == (3, 0)


class Echo(grpc.GenericRpcHandler):
    """A server of gRPC that answers with the request, and refuses the one that says so, or is slow about it."""

    def __init__(self) -> None:
        self._meeting = threading.Barrier(3, timeout=30)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer_to(request: bytes, context: grpc.ServicerContext) -> bytes:
            if request == b"refuse me":
                context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
            if request.startswith(b"wait"):
                time.sleep(float(request[4:]))
            if request.startswith(b"meet"):
                self._meeting.wait()  # lets nobody through before three calls are here
            return request

        return grpc.unary_unary_rpc_method_handler(answer_to)


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(4), [Echo()], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def calls(target: str, bodies: list[bytes], requests: int, connections: int = 2, rate: float | None = None) -> Outcome:
    connect = Server(Access(read_target(target))).connect
    run = Run(Work(connect, [Request(METHOD, body) for body in bodies]), connections)
    run.open()
    begin = time.perf_counter_ns()
    if rate is None:
        return run.go(ClosedPace(begin, 0, LONG, requests))
    return run.go(OpenPace(begin, 0, LONG, requests, rate=rate, poisson_seed=1))


@pytest.mark.parametrize("rate", [None, 2000.0])
def test_calls_of_another_implementation_of_grpc_are_answered(echo: str, rate: float | None) -> None:
    # Enough for its pings, and for the windows of a connection to be spent several times.
    outcome = calls(echo, [b"a", b"b" * 5000, b""], 600, rate=rate)
    assert (outcome.tally.good.count, outcome.tally.failed) == (600, 0)


def test_calls_that_are_refused_are_failures_among_those_that_are_not(echo: str) -> None:
    outcome = calls(echo, [b"a", b"refuse me", b"c"], 300)
    assert (outcome.tally.good.count, failures(outcome)) == (200, {"NOT_FOUND": 100})
    assert outcome.tally.failures["NOT_FOUND"].first_text == "no such thing"


def test_calls_that_are_larger_than_a_frame_and_a_window_take_turns_with_small_ones(echo: str) -> None:
    outcome = calls(echo, [b"a", bytes(300_000), b"c", bytes(20_000)], 80)
    assert (outcome.tally.good.count, outcome.tally.failed) == (80, 0)
    assert outcome.received_bytes > 20 * 320_000


def test_a_late_answer_is_passed_over_and_not_taken_for_that_of_the_next_request() -> None:
    def script(number: int) -> bytes:
        if number == 1:
            time.sleep(0.5)
            return answer(b"late")
        return GOOD

    with every(script) as server:
        outcome = closed(
            server, 4, timeout=0.3, judge=lambda number, body: "" if body == b"fine" else f"it is {body!r}"
        )
    assert (outcome.tally.good.count, failures(outcome)) == (3, {TIMEOUT: 1})
    assert server.connections == 1


def test_a_late_answer_to_a_call_is_passed_over(echo: str) -> None:
    bodies = [Request(METHOD, b"wait 0.5"), Request(METHOD, b"a")]
    run = Run(
        Work(
            Server(Access(read_target(echo))).connect,
            bodies,
            lambda number, body: "" if body == bodies[number].body else f"{number} is {body!r}",
            0.3,
        ),
        1,
    )
    run.open()
    outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 4))
    assert (outcome.tally.good.count, failures(outcome)) == (2, {TIMEOUT: 2})


def test_most_requests_may_be_refused_and_the_rest_is_compared() -> None:
    def script(number: int) -> bytes:
        if number % 10:
            return answer(b"too much", "503 Busy")
        return GOOD if number % 20 else answer(b"other")

    with every(script) as server:
        outcome = closed(server, 100, 2, judge=lambda number, body: "" if body == b"fine" else "it is another")
    assert outcome.tally.good.count == 5
    assert failures(outcome) == {"503": 90, DIFFERENT: 5}


def test_what_became_of_each_request_that_counts_is_told_with_the_time_at_which_it_was_due() -> None:
    told: dict[str, list[tuple[int, int, int]]] = {}

    def note(kind: str, dues: Array, took: Array, behind: Array) -> None:
        told.setdefault(kind, []).extend(zip(dues.tolist(), took.tolist(), behind.tolist(), strict=True))

    with every(lambda number: answer(b"too much", "503 Busy") if number % 2 else GOOD) as server:
        run = Run(work(server), 1, Hooks(on_ended=note))
        run.open()
        begin = time.perf_counter_ns()
        outcome = run.go(OpenPace(begin, 0, LONG, 20, rate=200, poisson_seed=None))
    assert {kind: len(ended) for kind, ended in told.items()} == {"": 10, "503": 10}
    ended = sorted(told[""] + told["503"])
    assert [due for due, _, _ in ended] == [begin + 5_000_000 * number for number in range(20)]
    assert all(took > behind >= 0 for _, took, behind in ended)
    assert max(behind for _, _, behind in ended) == outcome.tally.lateness.largest


def test_several_calls_are_under_way_on_one_connection(echo: str, twin: str) -> None:
    work = Work(Server(Access(read_target(echo))).connect, [Request(METHOD, b"meet 3")])
    run = Run(work, 1, streams=3)
    if twin == "plain":
        with pytest.raises(InvalidArgument, match="3 calls at once on a connection"):
            run.open()
        return
    run.open()
    outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 9))
    assert (outcome.tally.good.count, outcome.tally.failed) == (9, 0)


def test_large_calls_share_the_windows_of_a_connection(echo: str, twin: str) -> None:
    if twin == "plain":
        pytest.skip("one call at a time has the windows for itself")
    bodies = [bytes(300_000), b"a", bytes(range(256)) * 400]
    work = Work(
        Server(Access(read_target(echo))).connect,
        [Request(METHOD, body) for body in bodies],
        lambda number, body: "" if body == bodies[number] else f"{number} has {len(body)} bytes",
    )
    run = Run(work, 2, streams=4)
    run.open()
    outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, LONG, 60))
    assert (outcome.tally.good.count, failures(outcome)) == (60, {})


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

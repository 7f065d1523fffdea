"""Where and with whom requests run: on an engine thread, or, for the shortest runs, on the event loop itself.

A hand-over to a thread and back costs 70 to 300 us, several times what a small model takes to run. So a run that is
known to be short stays on the loop, where it holds up others for less than the hand-over would: one run in a turn of
the loop, with all requests for it that the turn has brought. Longer ones go to an engine thread, and what comes while
the threads are busy is the next batch. What a run takes is measured, each time, and told from the last ones and the
size of the inputs; the first run of a signature always goes to a thread.

Threads: one pool, owned by `EngineThreads`, ended by `close`. All decisions are taken on the event loop; a thread gets
a batch and hands its answers back with one `call_soon_threadsafe`. A batch that runs on a thread holds a lease of its
own, released when the run has ended, so that requests that give up (the deadline has passed, the client has gone) do
not let the version be unloaded under a run that goes on. `_tokens` has one entry for each thread that is free; both
sides push and pop, which is atomic.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import get_running_loop
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from math import inf

import numpy as np

from hotserve.batching.batch_queue import Batch, Closed
from hotserve.batching.deadlines import Deadlines
from hotserve.batching.gathering import PREDICT, Gathering, NotHere, Party, by_clerk, can_be_divided
from hotserve.batching.guests import Clerk, Guest
from hotserve.batching.lane import Lane, QueueBounds, Task, too_late
from hotserve.batching.lane_counts import LaneCounts
from hotserve.batching.loop_share import LoopShare
from hotserve.batching.padding import Inputs, rows_of
from hotserve.batching.plans import BatchPlans, ByServable
from hotserve.batching.reading_age import ReadingAge
from hotserve.batching.row_check import are_independent
from hotserve.batching.seats import Input, Seat, seat_in
from hotserve.batching.shared_run import Answer, SharedRun, run_alone, run_together
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.servable import NeedsThread, Servable, for_loop, runtime_of
from hotserve.errors import Internal, ServingError, Unavailable
from hotserve.observability.metrics import Metrics
from hotserve.processors import usable_cpus
from hotserve.tensors import Array, TensorSpec

logger = logging.getLogger(__name__)

_EXPECTING_TURNS = 16
"""How many turns of the loop must bring one request each until a request runs without waiting for the turn's end."""

_MAX_LANES = 256
"""How many combinations of signature and outputs of a version are remembered; clients choose the outputs."""

_STRIKES = 3
"""How many batches must fail together, and all of their requests do well alone, until a signature's are not shared."""


class EngineThreads:
    """Runs servables, as many at once as there are processors, beside those that are short enough for the loop."""

    def __init__(
        self,
        threads: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        plans: BatchPlans | None = None,
        metrics: Metrics | None = None,
        bounds: QueueBounds | None = None,
    ) -> None:
        """Starts no thread yet.

        Args:
            threads: How many engine threads there may be; None for one per processor.
            clock: Seconds, to measure runs by.
            plans: Which requests may share runs; none without it.
            metrics: Where runs and waits are counted.
            bounds: What may wait.
        """
        threads = threads or usable_cpus()
        self._clock = clock
        self._plans = plans or BatchPlans()
        self._counts = LaneCounts(metrics)
        self._bounds = bounds or QueueBounds()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hotserve-engine")
        self._tokens: list[None] = [None] * threads
        self._closed = False
        self._versions: ByServable[dict[tuple[str, tuple[str, ...]], Lane]] = ByServable()
        self._on_abandoned = self._leave
        # What follows is of the event loop that runs are asked for on; one at a time.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines: Deadlines[Task] | None = None
        # A lane with requests is in one of these.
        self._ready: dict[Lane, None] = {}  # to be looked at in the next turn
        self._blocked: dict[Lane, None] = {}  # waits for a thread
        self._waiting: dict[Lane, None] = {}  # waits for more requests, with a timer
        self._turn_due = False
        self._unwatched: list[Task] = []  # came in this turn, with a deadline
        self._arrivals = 0
        self._expecting = 0
        self._queued = 0
        self._queued_bytes = 0
        self._share = LoopShare()
        self._age = ReadingAge()

    async def run(
        self,
        lease: Lease,
        signature_name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None = None,
        api: str = "Predict",
    ) -> dict[str, Array]:
        """Runs one signature of the leased servable; see `Servable.run`.

        Cancelling the caller drops a request that is not running, and lets go of one that is. Where the plan of the
        version has requests share runs, the arrays of the answer may be views of one that is shared.

        Args:
            lease: The version; stays the caller's.
            signature_name: Which signature.
            inputs: Input alias -> array.
            outputs: The output aliases that are wanted.
            timeout_seconds: How long the caller waits, queueing included; None for as long as it takes.
            api: What the client has called, for the metrics: `Predict`, `Classify`, `Regress` or `MultiInference`.

        Raises:
            DeadlineExceeded: The time is over.
            ResourceExhausted: The time is over before the run, and batching is configured.
            Unavailable: More waits than may, or than can be answered in time; `close` has been called, or the system
                has no thread left.
            InvalidArgument: The request cannot be part of a batch, and batching is configured.
            ServingError: What the servable raises.
        """
        loop = get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        lane = self._lane(lease, signature_name, outputs)
        rules = lane.rules
        if rules.is_strict:
            # As in the original, before a request that has too many rows is refused.
            self._counts.came(lane, rows_of(inputs), len(inputs))
        rows, weight, key = lane.admit(inputs)
        if lane.to_try:
            self._try_rows(lane, lease)
        size = 0
        for array in inputs.values():
            size += array.nbytes
        if timeout_seconds is not None and timeout_seconds <= 0:
            raise too_late(timeout_seconds)
        if (
            (not rules.max_rows or not (self._turn_due or self._expecting))
            and not lane.queue.tasks
            and not rules.timeout_seconds
            and rows <= max(1, rules.max_rows)
            and lane.is_short(size)
        ):
            if rules.max_rows:
                self._arrivals += 1
                self._turn_due = True
                loop.call_soon(self._turn)
            try:
                return self._run_at_once(lane, lease, inputs, rows, size, api)
            except NeedsThread:
                pass  # In the queue, and then on a thread, it takes as long as it takes.
        task = Task(lane, lease, inputs, rows, weight, size, api, self._clock(), timeout_seconds, self._on_abandoned)
        self._enqueue(task, key)
        return await task

    def seat(
        self,
        handle: VersionHandle,
        signature_name: str,
        outputs: Sequence[str],
        clerk: Clerk,
        inputs: Sequence[Input],
    ) -> Seat | None:
        """The seat of a kind of requests, to `gather` with; None where such requests go the usual way.

        Args:
            handle: The version that they are for.
            signature_name: Which signature.
            outputs: The output aliases that are wanted.
            clerk: Who answers them.
            inputs: Their inputs, which have passed all checks.
        """
        return seat_in(self._lane(handle, signature_name, outputs), clerk, inputs)

    def may_gather(self, seat: Seat) -> bool:
        """Whether a request of a kind may gather now: its run is short, and its lane still shares runs."""
        return (
            (seat.was_open if seat.era is seat.times.era else seat.is_open())
            and get_running_loop() is self._loop
            and not self._closed
        )

    def gather(self, seat: Seat, handle: VersionHandle, guest: Guest) -> None:
        """Has a request take part in a run at the end of this turn of the loop, or run now if it comes alone.

        If more have come than can run together, it may be a later turn. Its clerk is told, perhaps before this
        returns: to answer it, to send it on to `run`, or that its time is over.

        Args:
            seat: That of its kind, for which `may_gather` has just said yes and, if many wait, `refusal` nothing.
            handle: The version that it is for.
            guest: The request.
        """
        lane, gathering = seat.lane, seat.gathering
        is_full = gathering.add(guest, handle)
        lane.guests += 1
        self._queued += 1
        self._queued_bytes += guest.size
        if not self._arrivals:
            self._age.read(self._clock())
        self._arrivals += 1
        if not self._turn_due:
            self._turn_due = True
            assert self._loop is not None  # `may_gather` has looked
            self._loop.call_soon(self._turn)
            if not self._expecting:
                self._share.begin_turn()
                self._serve_gathering(lane, gathering)
                lane.answered = 0
                return
        lane.gathered[gathering] = None
        self._ready[lane] = None
        if is_full:
            self._serve_full(lane, gathering)

    def refusal(self, lane: Lane, size: int, timeout_seconds: float | None) -> Unavailable | None:
        """Why a request that would gather is not let in, because too many wait; None where it is.

        Args:
            lane: Where it would run.
            size: The bytes of its inputs.
            timeout_seconds: How long its client waits; None for as long as it takes.

        Returns:
            The same object for as long as it says the same, so that what is made of it can be kept.
        """
        refused = lane.refused
        if refused is None or refused[0] != timeout_seconds:
            text = lane.lateness(timeout_seconds, self._age_at(self._clock())) or self._refusal(size)
            if not text:
                return None
            refused = (timeout_seconds, Unavailable(text))
            if lane.guests:  # else nobody is let out of it, which is when others may be let in again
                lane.refused = refused
                lane.refused_patience = timeout_seconds or 0.0
        self._counts.refused(lane)
        return refused[1]

    def count_refused(self, lane: Lane, requests: int) -> None:
        """Counts requests that were refused as others were for which `refusal` was asked."""
        self._counts.refused(lane, requests)

    def close(self) -> None:
        """Drops what is queued and ends the threads once what runs has ended."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and all who waited with it
                self._loop.call_soon_threadsafe(self._drop_all)

    # Letting in.

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forgets another loop, which has ended with all that waited there."""
        for lane in (*self._ready, *self._blocked, *self._waiting):
            lane.queue.clear()
            lane.timer = None
            for gathering in lane.gathered:
                gathering.clear()
            lane.gathered.clear()
            lane.guests = 0
        self._ready, self._blocked, self._waiting, self._unwatched = {}, {}, {}, []
        self._queued = self._queued_bytes = self._arrivals = self._expecting = 0
        self._turn_due = False
        self._loop = loop
        self._deadlines = Deadlines(loop, self._expire)

    def _lane(self, lease: Lease | VersionHandle, signature_name: str, outputs: Sequence[str]) -> Lane:
        servable = lease.servable
        version = self._versions.get(servable)
        if version is None:
            version = {}
            self._versions.set(servable, version)
        key = (signature_name, tuple(outputs))
        lane = version.get(key)
        if lane is None:
            if len(version) >= _MAX_LANES:
                for other in [other for other, kept in version.items() if not kept.queue.tasks]:
                    del version[other]
            lane = version[key] = Lane(
                lease.id,
                signature_name,
                servable.signatures[signature_name],
                key[1],
                self._plans.of(servable).rules_of(signature_name),
                runtime_of(servable, signature_name),
                bounds=self._bounds,
            )
        return lane

    def _enqueue(self, task: Task, key: Hashable) -> None:
        lane = task.lane
        if self._closed:
            raise Unavailable("No engine thread takes the request: the server is stopping. Send it again, later.")
        refusal = lane.refusal(task, key, self._age_at(task.queued)) or self._refusal(task.size)
        if refusal:
            self._counts.refused(lane)
            raise Unavailable(refusal)
        if lane.rules.splits and task.rows > 1:
            task.split(lane.queue.open_rows(key))
        for piece in task.pieces or (task,):
            piece.batch = lane.queue.add(piece, piece.weight, piece.size, key, task.queued)
            self._queued += 1
            self._queued_bytes += piece.size
        self._arrivals += 1
        if lane not in self._blocked:
            self._wake(lane)
            if task.timeout is not None:
                self._unwatched.append(task)
        else:
            self._watch(task)

    def _refusal(self, size: int) -> str:
        """Why a request of so many bytes is not let in, because of all that wait; empty where it is."""
        bounds = self._bounds
        if self._queued < bounds.requests and (not self._queued or self._queued_bytes + size <= bounds.input_bytes):
            return ""
        return (
            f"The batch scheduling queue to which this task was submitted is full; currently {self._queued} requests"
            f" wait, with {self._queued_bytes} bytes. The limits are --max_queued_requests={bounds.requests} and"
            f" --max_queued_bytes={bounds.input_bytes}. Send it again, later."
        )

    # Going out.

    def _leave(self, task: Task) -> None:
        """Nobody waits for a request any more: it has been answered, or has given up."""
        if task.watched is not None:
            task.watched.pop(task, None)
            task.watched = None
        for piece in task.pieces or (task,):
            if piece.batch is not None:
                self._unqueue(piece)

    def _fail(self, task: Task, error: BaseException) -> None:
        """Answers a request, which may be a piece of one, with an error; of no effect if it has its answer."""
        whole = task.whole or task
        if not whole.done():
            self._leave(whole)
            whole.set_exception(error)

    def _watch(self, task: Task) -> None:
        """Sees to it that a request that goes on waiting is told when its time is over."""
        if task.timeout is not None and self._deadlines is not None:
            task.watched = self._deadlines.watch(task, task.timeout - (self._clock() - task.queued))

    def _unqueue(self, task: Task) -> None:
        if task.batch is not None:
            task.lane.queue.remove(task.batch, task, task.weight, task.size)
            task.batch = None
            self._queued -= 1
            self._queued_bytes -= task.size

    def _expire(self, task: Task) -> None:
        """The deadline of a request has passed."""
        is_queued = any(piece.batch is not None for piece in task.pieces or (task,))
        self._fail(task, task.expired() if is_queued else too_late(task.timeout or 0.0))

    def _drop_all(self) -> None:
        dropped = []
        for lane in (*self._ready, *self._blocked, *self._waiting):
            for task in lane.queue.clear():
                task.batch = None
                self._queued -= 1
                self._queued_bytes -= task.size
                dropped.append(task)
        for task in dropped:
            self._fail(task, Unavailable("The server is stopping. Send the request again, later."))
        for lane in self._ready:
            for gathering in lane.gathered:
                while gathering.guests:
                    party = self._next_party(lane, gathering)
                    self._send_on(gathering, party.handle, party.guests)

    # Taking turns.

    def _wake(self, lane: Lane) -> None:
        self._ready[lane] = None
        self._have_turn()

    def _have_turn(self) -> None:
        if not self._turn_due and self._loop is not None:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _age_at(self, now: float) -> float:
        """How long ago a request that is read now may have come."""
        if not self._age.is_reading:
            self._age.read(now)
            self._have_turn()  # it may be refused, or wait for a thread: still the turn of the loop has to end
        return self._age.at(now)

    def _turn(self) -> None:
        """The end of a turn of the loop: what it has brought is run, or handed over."""
        self._turn_due = False
        arrivals, self._arrivals = self._arrivals, 0
        if arrivals > 1:
            self._expecting = _EXPECTING_TURNS
        elif arrivals and self._expecting:
            self._expecting -= 1
        ready, self._ready = self._ready, {}
        self._share.begin_turn()
        if len(ready) > 1:
            self._serve_all(ready)
        else:
            for lane in ready:
                self._serve(lane)
        self._share.end_turn()
        if self._unwatched:
            unwatched, self._unwatched = self._unwatched, []
            for task in unwatched:
                if not task.done():
                    self._watch(task)
        self._age.end_turn(self._clock())

    def _serve_all(self, ready: Iterable[Lane]) -> None:
        """Serves lanes; those that have had a run and wait for another come after the others in the next turn."""
        served = []
        for lane in ready:
            before = self._share.begun
            self._serve(lane)
            if self._share.begun != before:
                served.append(lane)
        for lane in served:
            if lane in self._ready:
                del self._ready[lane]
                self._ready[lane] = None

    def _serve(self, lane: Lane, now: float | None = None, *, on_loop: bool = True) -> None:
        """Starts what can be started of a lane; runs on the loop only if that is its turn."""
        if lane.gathered and on_loop:
            gathered, lane.gathered = lane.gathered, {}
            for gathering in gathered if len(gathered) == 1 else sorted(gathered, key=_first_came):
                self._serve_gathering(lane, gathering)
        queue = lane.queue
        while queue.tasks:
            batch = queue.next(self._clock() if now is None else now)
            if batch is None:
                self._wait_for_more(lane)
                break
            if lane.is_short_together(batch.size, len(batch.tasks)):
                if not (on_loop and self._may_run(lane)):
                    self._wake(lane)
                    break
                self._run_on_loop(lane, batch)
            elif self._tokens:
                self._hand_over(lane, batch)
            else:
                self._blocked[lane] = None
                break
        if lane.answered:
            answered, lane.answered = lane.answered, 0
            lane.learn_turn(answered, self._share.ended)

    def _may_run(self, lane: Lane) -> bool:
        return self._share.may_run(self._clock(), lane.refused_patience)

    def _serve_gathering(self, lane: Lane, gathering: Gathering) -> None:
        """Runs those who have gathered, or sends them the usual way."""
        while gathering.guests:
            if not self._may_run(lane) or (lane.queue.tasks and self._has_waited_longer(lane, gathering)):
                lane.gathered[gathering] = None
                self._wake(lane)
                break
            if gathering.deadline != inf and gathering.deadline <= self._clock():
                self._fail_late(lane, gathering)
                continue
            self._serve_party(lane, gathering)

    def _serve_full(self, lane: Lane, gathering: Gathering) -> None:
        """Runs those who fill a run before the turn ends, where none of their kind are refused.

        Whoever comes after them cannot join them. A turn brings thousands of requests from as many connections, and at
        its end what belongs to the first of them would have left the processor's caches. As they are answered their
        clients go on, which must not keep the turn from ending.
        """
        start, share = self._clock(), self._share
        if (
            share.may_run_early(start)
            and not lane.refused_patience
            and not lane.queue.tasks
            and gathering.deadline > start
        ):
            since = share.early_since()
            self._serve_party(lane, gathering)
            share.end_early(since, self._clock() - start)

    def _serve_party(self, lane: Lane, gathering: Gathering) -> None:
        """Runs as many of those who have gathered as share a run, or sends them the usual way."""
        party = self._next_party(lane, gathering)
        is_short = len(party.guests) > 1 or lane.is_short(party.size)
        if not (is_short and lane.rules is gathering.rules and self._run_party(lane, gathering, party)):
            self._send_on(gathering, party.handle, party.guests)

    def _next_party(self, lane: Lane, gathering: Gathering) -> Party:
        gathering.room = lane.room_on_loop()
        party = gathering.next_party(gathering.room)
        self._let_out(lane, len(party.guests), party.size)
        return party

    def _let_out(self, lane: Lane, guests: int, size: int) -> None:
        lane.guests -= guests
        lane.refused = None
        self._queued -= guests
        self._queued_bytes -= size

    def _has_waited_longer(self, lane: Lane, gathering: Gathering) -> bool:
        """Whether the first batch of the queue runs on the loop, and has waited longer than those who have gathered."""
        batch = lane.queue.next(self._clock())
        return (
            batch is not None
            and batch.opened < gathering.guests[0].start
            and lane.is_short_together(batch.size, len(batch.tasks))
        )

    def _fail_late(self, lane: Lane, gathering: Gathering) -> None:
        """Answers those who have gathered and whose time is over."""
        late = gathering.take_late(self._clock())
        self._let_out(lane, len(late), sum(guest.size for guest in late))
        for guest in late:
            guest.clerk.fail(guest, too_late(guest.deadline - guest.start))

    def _wait_for_more(self, lane: Lane) -> None:
        due = lane.queue.due()
        if due is None or lane.timer is not None or self._loop is None:
            return
        self._waiting[lane] = None
        lane.timer = self._loop.call_later(max(0.0, due - self._clock()), self._timed_out, lane, due)

    def _timed_out(self, lane: Lane, due: float) -> None:
        lane.timer = None
        self._waiting.pop(lane, None)
        # Not before the time that the timer was set for: it may be a little early.
        self._serve(lane, max(due, self._clock()), on_loop=False)

    def _take(self, lane: Lane, batch: Batch[Task]) -> tuple[Closed, list[Task]]:
        """Takes a batch out, and leaves those of its requests that need not run any more."""
        reason = lane.queue.take(batch)
        lane.refused = None
        now = self._clock()
        expired = []
        for task in batch.tasks:
            task.batch = None
            self._queued_bytes -= task.size
            if task.deadline is not None and task.deadline <= now:
                expired.append(task)
        self._queued -= len(batch.tasks)
        # Whoever is told that its time is over goes on at once, and may end others.
        for task in expired:
            self._fail(task, task.expired())
        # Some may have their answers: another piece of the same request has failed.
        return reason, [task for task in batch.tasks if not (task.whole or task).done()]

    # Running.

    def _run_at_once(
        self, lane: Lane, lease: Lease, inputs: Inputs, rows: int, size: int, api: str
    ) -> dict[str, Array]:
        """Runs one request in the turn that has brought it."""
        clock = self._clock
        start = clock()
        servable = lease.servable
        answer = run_alone(for_loop(servable), lane.signature_name, inputs, lane.outputs, lane.rules, rows)
        seconds = clock() - start
        lane.times.learn(size, seconds)
        lane.runtime = runtime_of(servable, lane.signature_name)
        self._counts.ran_at_once(lane, rows, seconds, api)
        return answer

    def _run_party(self, lane: Lane, gathering: Gathering, party: Party) -> bool:
        """Runs those who have gathered, and has them answered; returns whether it did."""
        clock = self._clock
        start = clock()
        self._share.begin_run(start)  # to send many on takes its time, too
        lease = party.handle.acquire()
        if lease is None:
            return False  # the version has been withdrawn meanwhile
        guests = party.guests
        with lease:
            servable = lease.servable
            try:
                answers = for_loop(servable).run(
                    lane.signature_name, gathering.inputs(guests, party.rows), lane.outputs
                )
            except BaseException:  # noqa: BLE001  # the usual way finds out whose fault it is, and has the words for it
                return False
            end = clock()
            self._share.end_run(end)
            seconds = end - start
            is_alone = len(guests) == 1
            if not is_alone and not can_be_divided(answers, party.rows):
                return False
            lane.answered += len(guests)
            lane.times.learn(party.size, seconds)
            lane.runtime = runtime_of(servable, lane.signature_name)
            if is_alone:
                self._counts.ran_at_once(lane, party.rows, seconds, PREDICT)
            else:
                self._counts.ran_gathered(lane, party, start, seconds)
            for clerk, (served, starts) in by_clerk(party).items():
                try:
                    clerk.answer(lease, served, answers, None if is_alone else starts)
                except (NotHere, ServingError):
                    self._send_on(gathering, party.handle, served)
                except Exception:
                    logger.exception("Answers of %s could not be written together", lane.id)
                    self._send_on(gathering, party.handle, served)
        return True

    def _send_on(self, gathering: Gathering, handle: VersionHandle, guests: Sequence[Guest]) -> None:
        for guest in guests:
            guest.clerk.send_on(guest, handle, gathering.inputs([guest], guest.rows))

    def _run_on_loop(self, lane: Lane, batch: Batch[Task]) -> None:
        reason, tasks = self._take(lane, batch)
        if not tasks:
            return
        self._share.begin_run(self._clock())
        shared = self._run_tasks(for_loop(tasks[0].lease.servable), lane, tasks)
        self._share.end_run(self._clock())
        lane.answered += len(tasks)
        left = [task for task, answer in zip(tasks, shared.answers, strict=True) if isinstance(answer, NeedsThread)]
        if not left:
            self._deliver(lane, tasks, reason, shared)
            return
        # Where no thread is free, they wait for one behind its run.
        self._submit(lane, left, reason, has_token=bool(self._tokens))
        for task, answer in zip(tasks, shared.answers, strict=True):
            if not isinstance(answer, NeedsThread):
                self._deliver(lane, [task], reason, SharedRun([answer], shared.runs[:1]))

    def _run_tasks(self, servable: Servable, lane: Lane, tasks: Sequence[Task]) -> SharedRun:
        lane.runtime = runtime_of(servable, lane.signature_name)
        return run_together(
            servable,
            lane.signature_name,
            lane.outputs,
            lane.rules,
            [task.inputs for task in tasks],
            [task.rows for task in tasks],
            self._clock,
        )

    def _hand_over(self, lane: Lane, batch: Batch[Task]) -> None:
        reason, tasks = self._take(lane, batch)
        if tasks:
            self._submit(lane, tasks, reason, has_token=True)

    def _submit(self, lane: Lane, tasks: list[Task], reason: Closed, *, has_token: bool) -> None:
        hold = tasks[0].lease.share()
        if has_token:
            self._tokens.pop()
        try:
            self._pool.submit(self._on_thread, self._loop, lane, tasks, reason, hold, has_token)
        except RuntimeError as error:
            hold.release()
            if has_token:
                self._tokens.append(None)
            for task in tasks:
                self._fail(task, Unavailable(f"No engine thread takes the request: {error}. Send it again, later."))

    def _on_thread(
        self,
        loop: asyncio.AbstractEventLoop | None,
        lane: Lane,
        tasks: list[Task],
        reason: Closed,
        hold: Lease,
        has_token: bool,
    ) -> None:
        shared = self._run_tasks(hold.servable, lane, tasks)
        hold.release()
        if has_token:
            self._tokens.append(None)
        assert loop is not None  # who waits for this has come on one
        try:
            loop.call_soon_threadsafe(self._finished, lane, tasks, reason, shared)
        except RuntimeError:  # the loop has ended, and all who waited with it
            if self._loop is not None and self._loop is not loop:
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._unblock)

    def _try_rows(self, lane: Lane, lease: Lease) -> None:
        """Has a thread find out whether requests of shapes that are not declared may share runs."""
        to_try, lane.to_try = lane.to_try, {}
        for key, rows in to_try.items():
            hold = lease.share()
            try:
                self._pool.submit(self._try_on_thread, self._loop, lane, key, rows, hold)
            except RuntimeError:  # the pool is closed, or the system has no thread left: they go on running alone
                hold.release()

    def _try_on_thread(
        self,
        loop: asyncio.AbstractEventLoop | None,
        lane: Lane,
        key: Hashable,
        rows: Mapping[str, TensorSpec],
        hold: Lease,
    ) -> None:
        try:
            found = are_independent(hold.servable, lane.signature_name, lane.outputs, rows)
        except Exception:
            logger.exception("Whether rows of another shape are independent cannot be tried for %s", lane.id)
            return
        finally:
            hold.release()
        assert loop is not None  # who has asked for this has come on one
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(partial(lane.learn_rows, key, are_independent=found))

    def _finished(self, lane: Lane, tasks: list[Task], reason: Closed, shared: SharedRun) -> None:
        # First the next batch, so that the thread is busy while the answers of this one are encoded.
        lane.learn_pace(len(tasks), self._clock())
        self._unblock()
        self._deliver(lane, tasks, reason, shared)

    def _unblock(self) -> None:
        """Gives threads that have become free to those who wait for one, in turn."""
        while self._tokens and self._blocked:
            lane = next(iter(self._blocked))
            del self._blocked[lane]
            self._serve(lane, on_loop=False)

    # Answering.

    def _deliver(self, lane: Lane, tasks: list[Task], reason: Closed, shared: SharedRun) -> None:
        if not shared.failed_together and shared.runs:
            lane.times.learn(sum(task.size for task in tasks), shared.runs[0].seconds)
        if shared.failed_together and not lane.rules.is_strict:
            self._reconsider(lane, shared)
        self._counts.ran(lane, tasks, reason, shared)
        for task, answer in zip(tasks, shared.answers, strict=True):
            self._answer(task, answer)

    def _answer(self, task: Task, answer: Answer) -> None:
        whole = task.whole
        if (whole or task).done():
            return
        if isinstance(answer, StopIteration):
            answer = Internal(f"The servable raised StopIteration: {answer}")  # which cannot be raised in a coroutine
        if isinstance(answer, BaseException):
            self._fail(task, answer)
        elif whole is None:
            if task.watched is not None:
                self._leave(task)
            task.set_result(answer)
        else:
            self._answer_piece(task, whole, answer)

    def _answer_piece(self, task: Task, whole: Task, answer: dict[str, Array]) -> None:
        parts = whole.parts
        assert parts is not None  # it has pieces
        parts[whole.pieces.index(task)] = answer
        if len(parts) < len(whole.pieces):
            return
        try:
            joined = _joined([parts[index] for index in range(len(parts))])
        except ValueError as error:
            self._fail(whole, Internal(f"The answers of the request's pieces do not fit together: {error}"))
        else:
            self._leave(whole)
            whole.set_result(joined)

    def _reconsider(self, lane: Lane, shared: SharedRun) -> None:
        """Stops sharing runs where that makes requests fail that do well alone."""
        if any(isinstance(answer, BaseException) for answer in shared.answers):
            return
        lane.strikes += 1
        if lane.strikes == _STRIKES:
            lane.stop_sharing()
            logger.warning(
                "Requests for signature %s of %s fail when they share a run and do well alone: from now on they run"
                " alone.",
                lane.signature_name,
                lane.id,
            )


def _first_came(gathering: Gathering) -> float:
    return gathering.guests[0].start if gathering.guests else inf


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

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
import time
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf

from hotserve.batching.answering import Answering
from hotserve.batching.aside import AsideRun, AsideRuns
from hotserve.batching.batch_queue import Batch, Closed
from hotserve.batching.gathering import Gathering
from hotserve.batching.guests import Clerk, Guest
from hotserve.batching.lane import REFUSING_SECONDS, Lane, QueueBounds, Task, too_late
from hotserve.batching.lane_counts import LaneCounts
from hotserve.batching.lanes import Lanes
from hotserve.batching.loop_share import LoopShare
from hotserve.batching.padding import Inputs, rows_of
from hotserve.batching.party_runs import PartyRuns, send_on
from hotserve.batching.plans import BatchPlans
from hotserve.batching.reading_age import ReadingAge
from hotserve.batching.row_trials import begin_trials
from hotserve.batching.seats import Input, Seat, seat_in
from hotserve.batching.shared_run import SharedRun, run_alone, run_together
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.servable import NeedsThread, Servable, for_loop, runtime_of
from hotserve.errors import Unavailable
from hotserve.observability.metrics import Metrics
from hotserve.processors import usable_cpus
from hotserve.tensors import Array

_EXPECTING_TURNS = 16
"""How many turns of the loop must bring one request each until a request runs without waiting for the turn's end."""


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
        processors: int | None = None,
    ) -> None:
        """Starts no thread yet.

        Args:
            threads: How many engine threads there may be; None for one per processor.
            clock: Seconds, to measure runs by.
            plans: Which requests may share runs; none without it.
            metrics: Where runs and waits are counted.
            bounds: What may wait.
            processors: How many processors there are to use; None to ask the system.
        """
        processors = processors or usable_cpus()
        threads = threads or processors
        self._clock = clock
        bounds = bounds or QueueBounds()
        self._lanes = Lanes(plans or BatchPlans(), bounds)
        self._counts = LaneCounts(metrics)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hotserve-engine")
        self._tokens: list[None] = [None] * threads
        self._closed = False
        self._room = WaitingRoom(bounds, clock)
        self._on_abandoned = self._room.leave
        self._answering = Answering(self._room, self._counts)
        # What follows is of the event loop that runs are asked for on; one at a time.
        self._loop: asyncio.AbstractEventLoop | None = None
        # A lane with requests is in one of these.
        self._ready: dict[Lane, None] = {}  # to be looked at in the next turn
        self._blocked: dict[Lane, None] = {}  # waits for a thread
        self._waiting: dict[Lane, None] = {}  # waits for more requests, with a timer
        self._turn_due = False
        self._unwatched: list[Task] = []  # came in this turn, with a deadline
        self._arrivals = 0
        self._expecting = 0
        self._share = LoopShare()
        self._parties = PartyRuns(self._room, self._share, self._counts, clock)
        self._age = ReadingAge()
        self._can_run_aside = processors > 1
        self._aside: AsideRuns | None = None
        self._ran_aside: deque[AsideRun] = deque()  # those of `_aside`

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
        lane = self._lanes.of(lease, signature_name, outputs)
        rules = lane.rules
        if rules.is_strict:
            # As in the original, before a request that has too many rows is refused.
            self._counts.came(lane, rows_of(inputs), len(inputs))
        rows, weight, key = lane.admit(inputs)
        if lane.to_try:
            begin_trials(lane, lease, self._pool, loop)
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
        return seat_in(self._lanes.of(handle, signature_name, outputs), clerk, inputs)

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
        room = self._room
        room.requests += 1
        room.input_bytes += guest.size
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
        if self._ran_aside:
            assert self._aside is not None  # they are of it
            self._aside.collect()
        refused = lane.refused
        if refused is None or refused[0] != timeout_seconds:
            now = self._clock()
            text = lane.lateness(timeout_seconds, self._age_at(now)) or self._room.refusal(size)
            if not text:
                return None
            lane.refused_at = now
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
        if self._aside is not None:
            self._ready.update(dict.fromkeys(self._aside.end()))
        for lane in (*self._ready, *self._blocked, *self._waiting):
            lane.queue.clear()
            lane.timer = None
            for gathering in lane.gathered:
                gathering.clear()
            lane.gathered.clear()
            lane.guests = 0
        self._ready, self._blocked, self._waiting, self._unwatched = {}, {}, {}, []
        self._arrivals = self._expecting = 0
        self._turn_due = False
        self._loop = loop
        self._room.adopt(loop)
        if self._can_run_aside:
            self._aside = AsideRuns(
                loop,
                self._pool,
                self._tokens,
                self._room,
                self._parties,
                self._clock,
                wake=self._wake,
                unblock=self._unblock,
                unblock_soon=self._unblock_soon,
                blocked=lambda: bool(self._blocked),
            )
            self._ran_aside = self._aside.ran

    def _enqueue(self, task: Task, key: Hashable) -> None:
        lane = task.lane
        if self._closed:
            raise Unavailable("No engine thread takes the request: the server is stopping. Send it again, later.")
        refusal = lane.refusal(task, key, self._age_at(task.queued)) or self._room.refusal(task.size)
        if refusal:
            self._counts.refused(lane)
            raise Unavailable(refusal)
        self._room.enter(task, key)
        self._arrivals += 1
        if lane not in self._blocked:
            self._wake(lane)
            if task.timeout is not None:
                self._unwatched.append(task)
        else:
            self._room.watch(task)

    def _drop_all(self) -> None:
        self._room.drop(
            (*self._ready, *self._blocked, *self._waiting),
            lambda: Unavailable("The server is stopping. Send the request again, later."),
        )
        if self._aside is not None:
            self._ready.update(dict.fromkeys(self._aside.drop()))
        for lane in self._ready:
            for gathering in lane.gathered:
                while gathering.guests:
                    party = self._parties.next_party(lane, gathering)
                    send_on(gathering, party.handle, party.guests)

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
                    self._room.watch(task)
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
            if lane.refused_patience and self._run_aside(lane, gathering):
                break
            if not self._may_run(lane) or (lane.queue.tasks and self._has_waited_longer(lane, gathering)):
                lane.gathered[gathering] = None
                self._wake(lane)
                break
            if gathering.deadline != inf and gathering.deadline <= self._clock():
                self._parties.fail_late(lane, gathering)
                continue
            self._parties.run_next(lane, gathering)

    def _serve_full(self, lane: Lane, gathering: Gathering) -> None:
        """Runs those who fill a run before the turn ends, where none of their kind are refused.

        Whoever comes after them cannot join them. A turn brings thousands of requests from as many connections, and at
        its end what belongs to the first of them would have left the processor's caches. As they are answered their
        clients go on, which must not keep the turn from ending.
        """
        if lane.refused_patience and self._run_aside(lane, gathering):
            return
        start, share = self._clock(), self._share
        if (
            share.may_run_early(start, gathering.deadline - start)
            and not lane.refused_patience
            and not lane.queue.tasks
            and gathering.deadline > start
        ):
            since = share.early_since()
            self._parties.run_next(lane, gathering)
            share.end_early(since, self._clock() - start)

    def _run_aside(self, lane: Lane, gathering: Gathering) -> bool:
        """Has those who have gathered run by a thread, since others are refused; returns whether it does."""
        now = self._clock()
        return (
            self._aside is not None
            and now - lane.refused_at < REFUSING_SECONDS
            and gathering.deadline > now
            and self._aside.take(lane, gathering)
        )

    def _has_waited_longer(self, lane: Lane, gathering: Gathering) -> bool:
        """Whether the first batch of the queue runs on the loop, and has waited longer than those who have gathered."""
        batch = lane.queue.next(self._clock())
        return (
            batch is not None
            and batch.opened < gathering.guests[0].start
            and lane.is_short_together(batch.size, len(batch.tasks))
        )

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

    def _run_on_loop(self, lane: Lane, batch: Batch[Task]) -> None:
        reason, tasks = self._room.take(lane, batch)
        if not tasks:
            return
        self._share.begin_run(self._clock())
        shared = self._run_tasks(for_loop(tasks[0].lease.servable), lane, tasks)
        self._share.end_run(self._clock())
        lane.answered += len(tasks)
        left = [task for task, answer in zip(tasks, shared.answers, strict=True) if isinstance(answer, NeedsThread)]
        if not left:
            self._answering.deliver(lane, tasks, reason, shared)
            return
        # Where no thread is free, they wait for one behind its run.
        self._submit(lane, left, reason, has_token=bool(self._tokens))
        for task, answer in zip(tasks, shared.answers, strict=True):
            if not isinstance(answer, NeedsThread):
                self._answering.deliver(lane, [task], reason, SharedRun([answer], shared.runs[:1]))

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
        reason, tasks = self._room.take(lane, batch)
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
                self._room.fail(
                    task, Unavailable(f"No engine thread takes the request: {error}. Send it again, later.")
                )

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
            if self._loop is not loop:
                self._unblock_soon()

    def _finished(self, lane: Lane, tasks: list[Task], reason: Closed, shared: SharedRun) -> None:
        # First the next batch, so that the thread is busy while the answers of this one are encoded.
        lane.learn_pace(len(tasks), self._clock())
        self._unblock()
        self._answering.deliver(lane, tasks, reason, shared)

    def _unblock_soon(self) -> None:
        """As `_unblock`, for any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # this loop has ended as well
                self._loop.call_soon_threadsafe(self._unblock)

    def _unblock(self) -> None:
        """Gives threads that have become free to those who wait for one, in turn."""
        while self._tokens and self._blocked:
            lane = next(iter(self._blocked))
            del self._blocked[lane]
            self._serve(lane, on_loop=False)


def _first_came(gathering: Gathering) -> float:
    return gathering.guests[0].start if gathering.guests else inf

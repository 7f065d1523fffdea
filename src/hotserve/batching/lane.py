"""The requests of one signature for the same outputs: which of them are let in, and with which others they may run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Final

from hotserve.batching.answer_slot import AnswerSlot
from hotserve.batching.batch_queue import Batch, BatchQueue, split_rows
from hotserve.batching.gathering import Gathering
from hotserve.batching.options import ALONE, BatchRules
from hotserve.batching.padding import Inputs, checked_rows, key_of
from hotserve.batching.run_times import RunTimes
from hotserve.core.handle import Lease
from hotserve.core.ids import ServableId
from hotserve.errors import DeadlineExceeded, ResourceExhausted, ServingError, Unavailable
from hotserve.observability.instruments import NumberCell
from hotserve.observability.whole_runs import WholeRunCells
from hotserve.tensors import Array, Signature, TensorSpec

INLINE_SECONDS = 0.0005
"""The longest run, as far as can be told before it, that stays on the event loop."""

SHARED_INLINE_SECONDS = 0.002
"""The longest run that several requests share and that stays there, if it takes no more than `INLINE_SECONDS` of each.

It holds up others for no longer than its requests would one after the other, and the hand-over to a thread, which then
fights with the loop for the interpreter's lock, costs each of them more than it saves."""

ASIDE_SECONDS = 0.01
"""The longest run of those who have gathered on a thread, while the loop refuses others. The longer it is, the less
often it has to wait for the interpreter's lock: for up to 5 ms, where many calls come in one read."""

REFUSING_SECONDS = 0.5
"""For so long after somebody was refused others are taken to be refused, and the loop leaves runs to a thread. Between
two of them it may be that nobody waits: the loop would have the next runs, and fall behind until it refuses again."""

_MAX_SHAPES = 1000
"""How many shapes of a signature's inputs are remembered; clients choose them."""

_TRIED_AFTER: Final = 8
"""After so many requests of a shape that the signature does not declare it is tried whether they may share runs."""

_MAX_TRIED: Final = 16
"""For how many shapes that is tried."""

_FEW: Final = 64
"""Whether so many wait already is not asked of each that would gather: they are answered in less than a tenth of a
second."""

_FEW_OF: Final = 16
"""They are no larger a part than this of what may wait in all lanes together: each lane may be over that by its few."""

_LARGEST_GUEST: Final = 1 << 20
"""The inputs of each have less: what gathers comes in messages of less than a megabyte."""

_IN_TIME = 0.5
"""The part of a request's time that the queue before it may take, as far as can be told, for it to be let in."""

_STANDING = 0.25
"""The same once others have waited without a pause for longer than `_BURST` of that time. A burst is answered soon, and
who asks again only when answered never waits for longer; of a queue that grows nobody has anything more."""

_BURST = 0.25
"""See `_STANDING`."""

_IN_OVERLOAD = 0.1
"""The same after somebody was not let in, for as many times of a request's own time as `_OVERLOAD` says or until nobody
waits. Where more come than can be answered, a longer queue makes all late, and keeps connections and calls taken."""

_OVERLOAD = 4.0
"""See `_IN_OVERLOAD`. Clients who ask again as soon as they are refused would never see the end of it otherwise."""

_NO_CELLS: Final[tuple[str, BatchRules | None, WholeRunCells | None]] = ("", None, None)

_PACE_GAIN = 0.1
"""How much the last batch counts in how fast requests are answered."""

_PACE_JOLT = 4.0
"""A batch counts as so many times what was expected at most: a process is kept from its processor now and then."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """What may wait for the engine, all models together.

    Attributes:
        requests: How many requests.
        input_bytes: How many bytes their inputs may have.
    """

    requests: int = 10_000
    input_bytes: int = 1 << 30


class Task(AnswerSlot[dict[str, Array]]):
    """A request that waits, and where its answer will be put; or a piece of one.

    Attributes:
        lane: Where it waits.
        lease: The version that it is for; its caller's.
        inputs: Input alias -> array.
        rows: How many rows it has.
        weight: The rows that it has for the queue: more than a batch takes if it must go alone.
        size: The bytes of its inputs.
        api: What the client has called, for the metrics.
        queued: When it came, in seconds of the engine's clock.
        timeout: How long its caller waits, in seconds; None for as long as it takes.
        deadline: `queued` and `timeout` together.
        batch: Where it is queued; None if it is not, or not any more.
        watched: Where its deadline is watched.
        whole: What it is a piece of; None if it is no piece.
        pieces: The pieces that it has been split into; none if it has not.
        parts: The answers of its pieces that have come, by their position; None if it has none.
    """

    __slots__ = (
        "_on_abandoned",
        "api",
        "batch",
        "deadline",
        "inputs",
        "lane",
        "lease",
        "parts",
        "pieces",
        "queued",
        "rows",
        "size",
        "timeout",
        "watched",
        "weight",
        "whole",
    )

    def __init__(
        self,
        lane: Lane,
        lease: Lease,
        inputs: Inputs,
        rows: int,
        weight: int,
        size: int,
        api: str,
        queued: float,
        timeout: float | None,
        on_abandoned: Callable[[Task], None],
    ) -> None:
        """Makes a request that is not queued yet; for the arguments see `Task`.

        Args:
            on_abandoned: Called with it when nobody waits for it any more, before there was an answer.
        """
        super().__init__()
        self.lane = lane
        self.lease = lease
        self.inputs = inputs
        self.rows = rows
        self.weight = weight
        self.size = size
        self.api = api
        self.queued = queued
        self.timeout = timeout
        self.deadline = None if timeout is None else queued + timeout
        self.batch: Batch[Task] | None = None
        self.watched: dict[Task, None] | None = None
        self.whole: Task | None = None
        self.pieces: tuple[Task, ...] = ()
        self.parts: dict[int, dict[str, Array]] | None = None
        self._on_abandoned = on_abandoned

    def abandoned(self) -> None:
        self._on_abandoned(self)

    def split(self, open_rows: int) -> None:
        """Makes pieces of it where it does not fit into a batch.

        Args:
            open_rows: The rows of the batch that its first piece will join.
        """
        counts = split_rows(self.rows, open_rows, self.lane.rules.max_rows)
        if len(counts) == 1:
            return
        pieces = []
        start = 0
        for count in counts:
            inputs = {name: array[start : start + count] for name, array in self.inputs.items()}
            size = sum(array.nbytes for array in inputs.values())
            piece = Task(
                self.lane,
                self.lease,
                inputs,
                count,
                count,
                size,
                self.api,
                self.queued,
                self.timeout,
                self._on_abandoned,
            )
            piece.whole = self
            pieces.append(piece)
            start += count
        self.pieces = tuple(pieces)
        self.parts = {}

    def expired(self) -> ServingError:
        """What its caller is told where it has waited for as long as it would, and has not been run."""
        seconds = self.timeout or 0.0
        if self.lane.rules.is_strict:
            return ResourceExhausted(
                f"Run() timeout exceeded while waiting in batching queue: the request waited for its {seconds:g} s. The"
                " deadline comes from the client (gRPC) or from --rest_api_timeout_in_ms (REST)."
            )
        return too_late(seconds)


def too_late(seconds: float) -> DeadlineExceeded:
    """What a caller is told whose time is over."""
    return DeadlineExceeded(
        f"Timed out waiting for notification: no answer within {max(0.0, seconds):g} s. The deadline comes from the"
        " client (gRPC) or from --rest_api_timeout_in_ms (REST)."
    )


class Lane:
    """One signature of one version, with one set of outputs.

    Attributes:
        id: The version.
        version: Its number, as metrics have it.
        signature_name: The signature.
        outputs: The output aliases that are wanted.
        rules: How its requests share runs.
        runtime: What runs it, as metrics have it.
        queue: Those that wait.
        times: What its runs take.
        timer: Ends the wait of its open batches for more requests.
        strikes: How often requests have failed together that did well alone.
        gatherings: Where requests gather that need no place in the queue, by what they have in common.
        gathered: Those of them where some have.
        to_try: What a row is in requests of another shape than the signature declares, of which many have come, by what
            requests must have in common; whoever runs them tries whether they may share runs, and says so with
            `learn_rows`.
        guests: How many have, in all of them.
        few: Whether to let in one that would gather need not be asked while no more of them have; negative if it
            always has to be.
        answered: How many were answered in this turn of the loop, by runs on it.
        refusals: Where those are counted who are not let in.
        refused: How long those wait, in seconds, whom there is no room for now, and what they are told; None as long as
            nobody had to be told.
        refused_at: When it was last found that somebody has no room, in seconds of the engine's clock; not noted
            of those who are told the same right after that.
        refused_patience: How long those wait, in seconds, who were refused last while others waited; 0 if nobody was
            for `REFUSING_SECONDS`.
    """

    __slots__ = (
        "_cells",
        "_era",
        "_fits",
        "_is_plain",
        "_last_finish",
        "_last_turn",
        "_overload_until",
        "_pace",
        "_room",
        "_room_aside",
        "_signature",
        "_undeclared",
        "_waiting_since",
        "answered",
        "few",
        "gathered",
        "gatherings",
        "guests",
        "id",
        "outputs",
        "queue",
        "refusals",
        "refused",
        "refused_at",
        "refused_patience",
        "rules",
        "runtime",
        "signature_name",
        "strikes",
        "timer",
        "times",
        "to_try",
        "version",
    )

    def __init__(
        self,
        id: ServableId,
        signature_name: str,
        signature: Signature,
        outputs: tuple[str, ...],
        rules: BatchRules,
        runtime: str,
        *,
        bounds: QueueBounds = QueueBounds(),
    ) -> None:
        """Makes a lane in which nobody waits; for the arguments see `Lane`.

        Args:
            bounds: What may wait in all lanes together.
        """
        self.id = id
        self.version = str(id.version)
        self.signature_name = signature_name
        self.outputs = outputs
        self.rules = rules
        self.runtime = runtime
        self.queue: BatchQueue[Task] = BatchQueue(rules.max_rows, rules.max_bytes, rules.timeout_seconds)
        self.times = RunTimes()
        self.timer: asyncio.TimerHandle | None = None
        self.strikes = 0
        self._era: object = None  # of `times`, which `_room` goes by
        self._room = 0.0
        self._room_aside = 0.0
        self.gatherings: dict[Hashable, Gathering] = {}
        self.gathered: dict[Gathering, None] = {}
        self.guests = 0
        self.few = min(_FEW, bounds.requests // _FEW_OF, bounds.input_bytes // (_FEW_OF * _LARGEST_GUEST)) or -1
        self.answered = 0
        self.refusals: NumberCell | None = None
        self.refused: tuple[float | None, Unavailable] | None = None
        self.refused_at = -inf
        self.refused_patience = 0.0
        self._pace: float | None = None  # seconds from one answer to the next while others wait
        self._last_finish: float | None = None
        self._last_turn = 0.0
        self._waiting_since = 0.0  # after each turn from then on somebody has waited
        self._overload_until = 0.0
        self._signature = signature
        # Nothing is left to compare where the shapes have been checked and only the number of rows is free.
        self._is_plain = signature.enforces_shapes and all(
            spec.shape and None not in spec.shape[1:] for spec in signature.inputs.values()
        )
        self._fits: dict[Hashable, bool] = {}
        self._undeclared: dict[Hashable, int] = {}  # how many of each are to come until it is tried
        self.to_try: dict[Hashable, dict[str, TensorSpec]] = {}
        self._cells: dict[str, tuple[str, BatchRules | None, WholeRunCells | None]] = {}

    def admit(self, inputs: Inputs) -> tuple[int, int, Hashable]:
        """Looks at a request's arrays.

        Returns:
            Its rows; the rows that it has for the queue, more than a batch takes if it must go alone; what it must have
            in common with others to share a run.

        Raises:
            InvalidArgument: The rules are strict, and the request cannot be part of a batch.
        """
        rules = self.rules
        if not rules.max_rows:
            return 1, 1, None
        if rules.is_strict:
            rows = checked_rows(inputs, rules)
            return rows, rows or rules.max_rows + 1, key_of(inputs, rules.pads)
        alone = rules.max_rows + 1
        rows = -1
        for array in inputs.values():
            if not array.ndim or (rows >= 0 and array.shape[0] != rows):
                return 1, alone, None
            rows = array.shape[0]
        if rows <= 0:
            return 1, alone, None
        if self._is_plain:
            return rows, rows, None
        key = key_of(inputs, pads=False)
        fits = self._fits.get(key)
        if fits is None:
            if len(self._fits) >= _MAX_SHAPES:
                self._fits.clear()
            # An array that the signature does not declare may mean something else to the graph: its first dimension
            # need not be rows.
            specs = self._signature.inputs
            fits = all(name in specs and specs[name].accepts(array.shape) for name, array in inputs.items())
            self._fits[key] = fits
        if not fits:
            self._note_undeclared(key, inputs)
        return rows, rows if fits else alone, key

    def _note_undeclared(self, key: Hashable, inputs: Inputs) -> None:
        """A request has come that runs alone for its shape: where many do, others may turn out to be its rows."""
        left = self._undeclared.get(key)
        if left is None:
            are_known = inputs.keys() <= self._signature.inputs.keys() and all(array.size for array in inputs.values())
            if not are_known or len(self._undeclared) >= _MAX_TRIED:
                return
            left = _TRIED_AFTER
        self._undeclared[key] = left - 1
        if left == 1:
            specs = self._signature.inputs
            self.to_try[key] = {
                name: TensorSpec(specs[name].dtype, (1, *array.shape[1:])) for name, array in inputs.items()
            }

    def learn_rows(self, key: Hashable, *, are_independent: bool) -> None:
        """Takes into account whether the rows of requests of a shape have turned out to be independent."""
        if key in self._fits:
            self._fits[key] = are_independent

    def cells_of(self, api: str) -> WholeRunCells | None:
        """What counts the lone runs of an API with the present engine, if it has been kept."""
        runtime, rules, cells = self._cells.get(api, _NO_CELLS)
        return cells if runtime == self.runtime and rules is self.rules else None

    def keep_cells(self, api: str, cells: WholeRunCells) -> None:
        """Keeps what counts the lone runs of an API with the present engine and rules."""
        self._cells[api] = (self.runtime, self.rules, cells)

    def is_short(self, size: int) -> bool:
        """Whether a run with inputs of so many bytes is known to be short."""
        seconds = self.times.of(size)
        return seconds is not None and seconds <= INLINE_SECONDS

    def room_on_loop(self) -> float:
        """How many bytes inputs may have that share a run on the loop."""
        era = self.times.era
        if era is not self._era:
            self._era = era
            self._room = min(self.times.size_within(SHARED_INLINE_SECONDS), self.rules.max_bytes)
            self._room_aside = min(self.times.size_within(ASIDE_SECONDS), self.rules.max_bytes)
        return self._room

    def room_aside(self) -> float:
        """The same for a thread, while the loop refuses others."""
        self.room_on_loop()
        return self._room_aside

    def is_short_together(self, size: int, requests: int) -> bool:
        """Whether a run that some requests with inputs of so many bytes share is known to be short for so many."""
        seconds = self.times.of(size)
        return seconds is not None and seconds <= min(SHARED_INLINE_SECONDS, requests * INLINE_SECONDS)

    def refusal(self, task: Task, key: Hashable, age: float) -> str:
        """Why a request is not let in, because too many wait; empty where it is.

        Args:
            task: The request.
            key: What it must have in common with others to share a run.
            age: How long ago it may have come, in seconds.
        """
        rules, queue = self.rules, self.queue
        if rules.is_strict:
            if rules.splits:
                tail = queue.open_rows(key)
                capacity = (rules.max_batches - queue.batches) * rules.max_rows + (rules.max_rows - tail if tail else 0)
                if task.rows > capacity:
                    return (
                        "The batch scheduling queue to which this task was submitted is full; task size is"
                        f" {task.rows} but scheduling capacity is only {capacity} (num_enqueued_batches="
                        f"{max(1, queue.batches)}, max_enqueued_batches={rules.max_batches}, open_batch_size={tail},"
                        f" max_execution_batch_size={rules.max_rows})"
                    )
            elif queue.batches >= rules.max_batches and not queue.fits(task.weight, task.size, key):
                return (
                    "The batch scheduling queue to which this task was submitted is full; currently"
                    f" {queue.batches} batches enqueued and max_enqueued_batches is {rules.max_batches}"
                )
        return self.lateness(task.timeout, age)

    def lateness(self, timeout: float | None, age: float) -> str:
        """Why a request is not let in, because it would be answered too late; empty where it is.

        Args:
            timeout: How long its client waits, in seconds; None for as long as it takes.
            age: How long ago it may have come, in seconds.
        """
        waiting = self.queue.tasks + self.guests
        seconds = waiting * (self._pace or 0.0) + age
        if not waiting:
            # Nobody has waited: the time since then says nothing of how fast answers come, or how full the loop is.
            self._last_finish = None
            self._overload_until = 0.0
            self._waiting_since = self._last_turn
        elif timeout is not None:
            in_overload = self._last_turn < self._overload_until
            is_standing = self._last_turn - self._waiting_since > timeout * _BURST
            if seconds > timeout * (_IN_OVERLOAD if in_overload else _STANDING if is_standing else _IN_TIME):
                if not in_overload:
                    self._overload_until = self._last_turn + _OVERLOAD * timeout
                return (
                    "The batch scheduling queue to which this task was submitted is full; currently"
                    f" {waiting} requests wait, for about {seconds:.1f} s, and the client waits for {timeout:g} s."
                    " Send it again, later."
                )
        return ""

    def stop_sharing(self) -> None:
        """From now on its requests run alone."""
        self.rules = ALONE
        self.times.renew()
        self.queue.stop_joining()

    def learn_pace(self, answered: int, now: float) -> None:
        """Takes into account that so many requests have been answered together, while others waited or not.

        That is so where threads answer, too: the loop reads meanwhile what comes.
        """
        self._overload_until = 0.0
        self._learn(answered, now)

    def _learn(self, answered: int, now: float) -> None:
        if not (self.queue.tasks or self.guests):
            self._last_finish = None
            return
        if self._last_finish is None:
            self._waiting_since = now
        else:
            # Times are averaged and not their inverses: two threads that finish together are not infinitely fast.
            pace = (now - self._last_finish) / answered
            if self._pace:
                pace = self._pace + _PACE_GAIN * (min(pace, _PACE_JOLT * self._pace) - self._pace)
            self._pace = pace
        self._last_finish = now

    def learn_turn(self, answered: int, now: float) -> None:
        """As `learn_pace` for all that were answered in a turn of the loop.

        If nobody is left in each turn, it is still known that requests take no longer than from one turn to the next.
        """
        seconds = now - self._last_turn
        pace = seconds / answered
        self._last_turn = now
        self._learn(answered, now)
        if self._last_finish is None:
            self._overload_until = 0.0
            self._waiting_since = now
            if now - self.refused_at >= REFUSING_SECONDS:
                self.refused_patience = 0.0
        if self._pace and pace < self._pace:
            self._pace += _PACE_GAIN * (pace - self._pace)

"""What a run takes, told from the runs before it."""

from __future__ import annotations

import math

_SLOWER = 0.2
"""How much of what a run took longer than expected is believed: threads wait for each other now and then."""

_JOLT = 4.0
"""As many times what was expected is the most that a run counts that took no longer than `_JOLT_SECONDS`."""

_JOLT_SECONDS = 0.03
"""How long a thread is kept from its processor now and then: by a load, by other programs. Such a run says nothing of
the next one. One that takes longer is believed as it is."""

_SHORT_SECONDS = 1e-4
"""Whatever a run is compared with, one that takes less than this is short."""

_ORDERS = 8
"""Into so many steps a doubling of the time of a longer run is divided: within one, nobody decides otherwise."""


_FRESH_RUNS = 256
"""After so many further runs what is known of a size is doubted, if none had it: one that has seemed too slow by a few
jolts would never be tried again."""

_DOUBTFUL_SECONDS = 0.01
"""Whatever took longer is not doubted."""


class RunTimes:
    """The times of the runs of one signature, by the size of the inputs.

    For each power of two of the size there is one entry, so that what a batch takes does not say what one request
    takes. Written by one thread at a time.

    Attributes:
        era: Another object each time that something was learned by which somebody may decide otherwise.
    """

    __slots__ = ("_entries", "_orders", "_runs", "_seen", "era")

    def __init__(self) -> None:
        self._entries: dict[int, tuple[float, int]] = {}
        self._orders: dict[int, int] = {}  # of magnitude, of the entries
        self._seen: set[int] = set()  # the sizes of the last runs
        self._runs = 0
        self.era = object()

    def of(self, size: int) -> float | None:
        """The time that a run is expected to take.

        What is not known is told from smaller runs in proportion, or else from larger ones, which take no less.

        Args:
            size: The size of the inputs, in bytes.

        Returns:
            Seconds; None before the first run.
        """
        bucket = size.bit_length()
        entry = self._entries.get(bucket)
        if entry is None:
            if not self._entries:
                return None
            larger = min((known for known in self._entries if known > bucket), default=None)
            smaller = max((known for known in self._entries if known < bucket), default=None)
            most = self._entries[larger][0] if larger is not None else None
            if smaller is None:
                return most
            seconds, known_size = self._entries[smaller]
            scaled = seconds * size / max(1, known_size)
            return scaled if most is None else min(scaled, most)
        seconds, known_size = entry
        return seconds if size <= known_size else seconds * size / max(1, known_size)

    def size_within(self, seconds: float) -> float:
        """The largest size of inputs whose run is expected to take no longer, as `of` tells; 0 before the first run."""
        largest = 0.0
        for bucket, (took, known_size) in sorted(self._entries.items()):
            if took > seconds:
                return min(largest, 2.0 ** (bucket - 1) - 1)  # all sizes of this bucket may take as long
            largest = known_size * seconds / max(took, 1e-9)
        return largest

    def learn(self, size: int, seconds: float) -> None:
        """Takes a run into account. Faster than expected counts at once, slower by and by, and no jolt for much.

        Args:
            size: The size of its inputs, in bytes.
            seconds: What it took.
        """
        bucket = size.bit_length()
        self._seen.add(bucket)
        self._runs += 1
        if self._runs >= _FRESH_RUNS:
            self._doubt()
        entry = self._entries.get(bucket)
        if entry is not None and seconds > entry[0]:  # else it is faster than expected, whatever its size
            expected = self.of(size)
            if expected is not None and seconds > expected:
                if seconds <= _JOLT_SECONDS:
                    seconds = min(seconds, _JOLT * expected)
                seconds = expected + _SLOWER * (seconds - expected)
        self._entries[bucket] = (seconds, size)
        order = 0 if seconds < _SHORT_SECONDS else 1 + int(_ORDERS * math.log2(seconds / _SHORT_SECONDS))
        if self._orders.get(bucket) != order:
            self._orders[bucket] = order
            self.renew()

    def renew(self) -> None:
        """Has whoever goes by `era` decide anew."""
        self.era = object()

    def _doubt(self) -> None:
        """Takes sizes that no run had for long to be as fast as others are, if they have seemed slower."""
        for bucket in self._entries.keys() - self._seen:
            seconds, size = self._entries[bucket]
            nearest = min(self._seen & self._entries.keys(), key=lambda seen: abs(seen - bucket), default=bucket)
            near_seconds, near_size = self._entries[nearest]
            if seconds <= _DOUBTFUL_SECONDS:
                self._entries[bucket] = (min(seconds, near_seconds * size / max(1, near_size)), size)
        self._seen.clear()
        self._runs = 0
        self.renew()

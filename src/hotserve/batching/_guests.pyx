# cython: language_level=3, nonecheck=True
"""Requests that take part, and what all of some of them have, in C: what `plain_guests` does; see there."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.string cimport memcpy

REVISION = 2  # to be raised, here and in guests.py, with every change of what Python sees of this file


@cython.freelist(256)
cdef class Guest:
    """See `plain_guests.Guest`."""

    cdef readonly object clerk
    cdef readonly object client
    cdef readonly object request
    cdef readonly Py_ssize_t rows
    cdef readonly Py_ssize_t size
    cdef readonly double start
    cdef readonly double decoded
    cdef readonly object contents
    cdef readonly double deadline
    cdef readonly Py_ssize_t received

    def __init__(
        self,
        clerk,
        client,
        request,
        Py_ssize_t rows,
        Py_ssize_t size,
        double start,
        double decoded,
        contents,
        double deadline=INFINITY,
        Py_ssize_t received=0,
    ):
        self.clerk = clerk
        self.client = client
        self.request = request
        self.rows = rows
        self.size = size
        self.start = start
        self.decoded = decoded
        self.contents = contents
        self.deadline = deadline
        self.received = received


cdef class Waiting:
    """See `plain_guests.Waiting`."""

    cdef public list guests
    cdef public Py_ssize_t rows
    cdef public Py_ssize_t size
    cdef public double deadline
    cdef public object handle
    cdef public bint is_mixed
    cdef public double room
    cdef Py_ssize_t _max_rows
    cdef object _clerk

    def __init__(self, Py_ssize_t max_rows):
        self._max_rows = max_rows
        self.room = INFINITY
        self.clear()

    def add(self, Guest guest not None, handle):
        """See `plain_guests.Waiting.add`."""
        self.handle = handle
        self.guests.append(guest)
        self.rows += guest.rows
        self.size += guest.size
        if guest.clerk is not self._clerk:
            self.is_mixed = self.is_mixed or self._clerk is not None
            self._clerk = guest.clerk
        if guest.deadline < self.deadline:
            self.deadline = guest.deadline
        return self.size > self.room or self.rows >= self._max_rows

    def clear(self):
        """See `plain_guests.Waiting.clear`."""
        self.guests = []
        self.rows = self.size = 0
        self.deadline = INFINITY
        self.handle = self._clerk = None
        self.is_mixed = False


def column_of(list guests not None, Py_ssize_t index):
    """See `plain_guests.column_of`."""
    cdef Py_ssize_t total = 0
    cdef list parts = []
    cdef Guest guest
    cdef bytes part
    cdef char *to
    for guest in guests:
        part = guest.contents[index]
        if part is None:
            raise TypeError("expected bytes, not None")
        parts.append(part)
        total += PyBytes_GET_SIZE(part)
    column = PyByteArray_FromStringAndSize(NULL, total)
    to = PyByteArray_AS_STRING(column)
    for part in parts:
        memcpy(to, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        to += PyBytes_GET_SIZE(part)
    return column


def times_of(list guests not None):
    """See `plain_guests.times_of`."""
    cdef list starts = [], decoded = []
    cdef Py_ssize_t received = 0
    cdef Guest guest
    for guest in guests:
        starts.append(guest.start)
        decoded.append(guest.decoded)
        received += guest.received
    return starts, decoded, received


def rows_of(list guests not None):
    """See `plain_guests.rows_of`."""
    cdef list starts = [], counts = []
    cdef Py_ssize_t start = 0
    cdef Guest guest
    for guest in guests:
        starts.append(start)
        counts.append(guest.rows)
        start += guest.rows
    return starts, counts

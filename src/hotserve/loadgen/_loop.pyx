# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Requests that are sent again and again over HTTP/1.1 or as calls of gRPC, and their answers, in C: see `compiled_loop`.

It speaks both protocols as far as every request needs them. What is rare, or has to be put into words, is asked of a
reader in Python, which is told of it once where it repeats itself: a header block, a status, a body that is right.
Linux only: it waits with epoll.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, ENOSYS, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <poll.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    /* Waits for events until a time that is not rounded to milliseconds. Kernels before 5.11 need two calls for that. */
    static int wait_exactly(int poller, struct epoll_event *events, int most, const struct timespec *wait) {
        struct pollfd file;
        file.fd = poller;
        file.events = POLLIN;
    #ifdef SYS_epoll_pwait2
        {
            static int is_missing = 0;
            if (!is_missing) {
                int count = (int)syscall(SYS_epoll_pwait2, poller, events, most, wait, NULL, (size_t)0);
                if (count >= 0 || (errno != ENOSYS && errno != EPERM))
                    return count;
                is_missing = 1;
            }
        }
    #endif
        if (ppoll(&file, 1, wait, NULL) < 0)
            return -1;
        return epoll_wait(poller, events, most, 0);
    }
    """
    ctypedef union epoll_data_t:
        int fd

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    int wait_exactly(int poller, epoll_event *events, int most, const timespec *wait) nogil
    int epoll_ctl(int poller, int operation, int file, epoll_event *event) nogil
    ssize_t send(int file, const void *data, size_t size, int flags) nogil
    ssize_t recv(int file, void *buffer, size_t size, int flags) nogil
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_MOD
        MSG_NOSIGNAL

REVISION = 1

cdef enum:
    MOST_EVENTS = 256
    # How many ended requests are kept before they have to be fetched.
    MOST_ENDED = 1 << 14
    SMALLEST_ROOM = 16 << 10
    MOST_HEAD_BYTES = 16 << 10
    # No call begins on a connection that has so much to send, and no more of a large message is put behind it.
    MOST_UNSENT = 256 << 10
    KNOWN_BLOCKS = 16
    KNOWN_BODIES = 8
    LARGEST_KNOWN_BODY = 1 << 20
    NANOSECONDS = 1_000_000_000
    # As in `wires.http2_frames`.
    FRAME_HEAD_BYTES = 9
    PREFIX_BYTES = 5
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    HAS_PRIORITY = 32
    HEADER_TABLE_SIZE = 1
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    CANCEL = 8
    LARGEST_NUMBER = 0x7FFFFFFF
    # As in `grpc_client`.
    LAST_STREAM = 1 << 30
    REPLENISH_FROM = 1 << 29

# How requests end, as in `compiled_loop`; the reader makes further numbers.
cdef enum:
    GOOD = 0
    TIMED_OUT = 1
    DROPPED = 2
    UNSENT = 3
    WITHOUT_STATUS = 4
    WITHOUT_MESSAGE = 5

# What the reader says of an answer that it reads itself.
cdef enum:
    IS_NOT_WHOLE = -1
    IS_BROKEN = -2

# Why a connection is of no use any more, as in `compiled_loop`.
cdef enum:
    IS_IN_ORDER = 0
    IS_CLOSED = 1
    HAS_ERROR = 2
    IS_NO_FRAME = 3
    GOES_AWAY = 4
    HAS_MORE = 5
    IS_SAID = 6

cdef enum State:
    ABSENT = 0
    OPEN
    GONE

cdef struct Part:
    # Bytes that the tuple in `_kept` holds.
    const char *data
    size_t size

cdef struct Text:
    char *data
    size_t size
    int kind
    bint is_end

cdef struct Call:
    # The number of its stream, 1 for HTTP/1.1; 0 where no request is under way.
    int64_t stream
    int64_t due
    # How long after it was due, and could be sent, it was sent.
    int64_t behind
    Py_ssize_t number
    # What its headers have said.
    int kind
    # Its neighbours among those under way, or among those that are late; -1 for none.
    int before
    int after
    bint is_late
    # Of gRPC only: what of the message has been sent, how much more the server takes, and the message that comes back.
    size_t sent
    int64_t window
    char *message
    size_t held
    size_t room

cdef struct Line:
    State state
    bint is_call
    bint is_writing
    # No further request begins, and it ends with those under way.
    bint is_closing
    bint is_dirty
    int reason
    int error
    # How many requests were lost with it.
    int lost
    int under_way
    int most
    # Where it stands among those that have room for a request; -1 for nowhere.
    int place
    # What has come since the last whole answer, or frame.
    char *received
    size_t held
    size_t room
    # What is being sent: a request of HTTP/1.1 where it lies, or the frames.
    const char *out
    size_t out_size
    size_t out_sent
    # Of HTTP/1.1 only: what the head of the answer has said, as soon as it is there; whether the reader reads it.
    size_t expected
    size_t head
    int status
    bint is_slow
    # Of gRPC only.
    char *frames
    size_t frames_room
    int64_t stream
    int64_t window
    int64_t first_window
    int64_t max_frame
    int64_t taken
    # Calls whose messages have not been sent as a whole.
    int pending
    bint is_begun
    const char *first_block
    size_t first_block_size
    const char *later_block
    size_t later_block_size
    # A header block that comes in several frames.
    char *block
    size_t block_size
    int64_t block_stream
    bint block_is_end
    Text known[KNOWN_BLOCKS]
    int known_count

cdef struct Queue:
    int first
    int last


cdef inline int64_t clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * NANOSECONDS + now.tv_nsec


cdef inline uint32_t number_at(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline char *put_number(char *to, int64_t number) noexcept nogil:
    cdef uint8_t *p = <uint8_t *>to
    p[0], p[1], p[2], p[3] = <uint8_t>(number >> 24), <uint8_t>(number >> 16), <uint8_t>(number >> 8), <uint8_t>number
    return to + 4


cdef inline char *put_head(char *to, size_t length, int kind, int flags, int64_t stream) noexcept nogil:
    cdef uint8_t *p = <uint8_t *>to
    p[0], p[1], p[2] = <uint8_t>(length >> 16), <uint8_t>(length >> 8), <uint8_t>length
    p[3], p[4] = <uint8_t>kind, <uint8_t>flags
    return put_number(to + 5, stream)


cdef inline bint is_name(const char *text, const char *name, size_t size) noexcept nogil:
    """Whether a text begins with a name in lower case, whatever its own case is."""
    cdef size_t place
    for place in range(size):
        if (text[place] | 0x20) != name[place]:
            return False
    return True


cdef int64_t content_length(const char *text, const char *end) noexcept nogil:
    """The number that a header's value is; -1 for any other value."""
    cdef int64_t value = 0
    cdef int digits = 0
    while text < end and (text[0] == c" " or text[0] == c"\t"):
        text += 1
    while text < end and c"0" <= text[0] <= c"9" and digits < 18:
        value = 10 * value + (text[0] - c"0")
        digits += 1
        text += 1
    while text < end and (text[0] == c" " or text[0] == c"\t"):
        text += 1
    return value if digits and text == end else -1


cdef int64_t http1_head(const char *data, size_t size, int *status, int64_t *body) noexcept nogil:
    """The bytes of the head that begins here, and what it says; 0 as long as it is not whole, -1 where it is unusual.

    The usual answer has a length, and leaves the connection open.
    """
    cdef const char *text = data
    cdef const char *end
    cdef const char *last = data + size
    cdef size_t line
    cdef int place
    body[0] = -1
    # What cannot become one any more is told at once: nothing else may come.
    if memcmp(data, b"HTTP/1.1 ", min(size, <size_t>9)) != 0:
        return -1
    if size < 13:
        return 0
    status[0] = 0
    for place in range(9, 12):
        if not c"0" <= data[place] <= c"9":
            return -1
        status[0] = 10 * status[0] + (data[place] - c"0")
    if data[12] != c" " or status[0] < 200 or status[0] == 204 or status[0] == 304 or status[0] > 599:
        return -1
    while True:
        end = <const char *>memchr(text, c"\n", last - text)
        if end is NULL:
            return -1 if size > MOST_HEAD_BYTES else 0
        if end == text or (end - 1)[0] != c"\r":
            return -1
        line = end - text - 1
        if line == 0:
            return -1 if body[0] < 0 else end + 1 - data
        if line >= 15 and is_name(text, b"content-length:", 15):
            if body[0] >= 0:
                return -1
            body[0] = content_length(text + 15, end - 1)
            if body[0] < 0:
                return -1
        elif line >= 18 and is_name(text, b"transfer-encoding:", 18):
            return -1
        elif line >= 11 and is_name(text, b"connection:", 11):
            if line != 22 or not is_name(text + 11, b" keep-alive", 11):
                return -1
        text = end + 1


def http1_answer(bytes data not None):
    """The status of the answer that begins here, and how many bytes its head and its body have.

    The head has 0 bytes as long as it is not whole, and -1 where it is not the usual one.
    """
    cdef int status = 0
    cdef int64_t body = 0
    cdef int64_t head = http1_head(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &status, &body)
    return status, head, body


cdef class Loop:
    """See `compiled_loop.Loops`."""

    cdef readonly Py_ssize_t turn, under_way, ended
    cdef readonly int64_t begun, sent_bytes, received_bytes
    cdef int _poller
    cdef int _most
    cdef int64_t _measured_from, _timeout
    cdef object _reader
    cdef bint _is_judged
    cdef tuple _kept
    cdef dict _blocks
    cdef Part *_parts
    cdef Py_ssize_t _parts_count
    # By request: the bodies that were found right, of which the oldest is forgotten first.
    cdef Text *_bodies
    cdef int *_bodies_count
    cdef int _statuses[600]
    # By file descriptor; its calls are those from `file * _most` on.
    cdef Line *_lines
    cdef Call *_calls
    cdef int _files
    cdef int *_roomy
    cdef int _roomy_count, _roomy_next
    cdef int *_dirty
    cdef int _dirty_count
    cdef int *_unusual
    cdef int _unusual_count
    cdef Queue _waiting, _late
    cdef int64_t *_ended_dues
    cdef int64_t *_ended_took
    cdef int64_t *_ended_behind
    cdef int *_ended_kinds
    cdef Py_ssize_t _ended_room
    # Since when there has been room for a request without a break.
    cdef int64_t _roomy_since
    # Of one call of `run`.
    cdef int64_t _end, _left, _now
    cdef const int64_t *_dues
    cdef Py_ssize_t _dues_count, _next_due
    cdef bint _is_open
    # Whether all that were under way have ended, and nothing is due: Python knows whether that was all.
    cdef bint _is_idle
    cdef object _problem
    cdef bint _is_stopped

    def __cinit__(
        self, int poller, parts, reader, int64_t measured_from, int64_t timeout, int most, bint is_judged
    ):
        cdef Py_ssize_t number = 0
        cdef bytes part
        if most < 1:
            raise ValueError("expected one call at a time, or more")
        self._poller, self._reader, self._most = poller, reader, most
        self._measured_from, self._timeout, self._is_judged = measured_from, timeout, is_judged
        self._kept = tuple(parts)
        self._blocks = {}
        self._waiting = self._late = Queue(-1, -1)
        self._parts_count = len(self._kept)
        if not self._parts_count:
            raise ValueError("expected a request, or more")
        self._parts = <Part *>calloc(self._parts_count, sizeof(Part))
        self._bodies = <Text *>calloc(self._parts_count * KNOWN_BODIES, sizeof(Text))
        self._bodies_count = <int *>calloc(self._parts_count, sizeof(int))
        if self._parts is NULL or self._bodies is NULL or self._bodies_count is NULL:
            raise MemoryError
        for part in self._kept:
            self._parts[number] = Part(PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
            number += 1
        self._grow(0)
        if not self._make_room_for_ended():
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t number
        if self._bodies is not NULL:
            for number in range(self._parts_count * KNOWN_BODIES):
                free(self._bodies[number].data)
        for number in range(self._files):
            self._forget(&self._lines[number])
            free(self._lines[number].received)
            free(self._lines[number].frames)
        for number in range(<Py_ssize_t>self._files * self._most):
            free(self._calls[number].message)
        free(self._bodies)
        free(self._bodies_count)
        free(self._parts)
        free(self._lines)
        free(self._calls)
        free(self._roomy)
        free(self._dirty)
        free(self._unusual)
        free(self._ended_dues)
        free(self._ended_took)
        free(self._ended_behind)
        free(self._ended_kinds)

    # What Python calls.

    def take_http1(self, int file):
        self._take(file, False, 1)

    def take_calls(
        self,
        int file,
        int64_t window,
        int64_t first_window,
        int64_t max_frame,
        int64_t most,
        bytes first_block not None,
        bytes later_block not None,
        bytes received not None,
    ):
        cdef Line *line = self._take(file, True, <int>max(0, min(most, self._most)))
        line.stream, line.taken, line.pending, line.is_begun = -1, 0, 0, False
        line.window, line.first_window, line.max_frame = window, first_window, max_frame
        line.first_block, line.first_block_size = PyBytes_AS_STRING(first_block), PyBytes_GET_SIZE(first_block)
        line.later_block, line.later_block_size = PyBytes_AS_STRING(later_block), PyBytes_GET_SIZE(later_block)
        self._blocks[file] = first_block, later_block
        while line.room < <size_t>PyBytes_GET_SIZE(received):
            if not self._has_room(line):
                raise MemoryError
        memcpy(line.received, PyBytes_AS_STRING(received), PyBytes_GET_SIZE(received))
        line.held = PyBytes_GET_SIZE(received)

    def give_back(self, int file):
        cdef Line *line
        if file < 0 or file >= self._files or self._lines[file].state == ABSENT:
            raise ValueError("the connection is not here")
        line = &self._lines[file]
        self._lose(line, file, IS_IN_ORDER, 0)
        self._forget(line)
        line.state = ABSENT
        if line.room > SMALLEST_ROOM:
            free(line.received)
            line.received, line.room = NULL, 0
        if line.frames_room > SMALLEST_ROOM:
            free(line.frames)
            line.frames, line.frames_room = NULL, 0
        self._blocks.pop(file, None)
        return line.reason, line.error, line.lost, line.held

    def results(self):
        cdef Py_ssize_t count = self.ended
        self.ended = 0
        return (
            PyBytes_FromStringAndSize(<const char *>self._ended_dues, count * sizeof(int64_t)),
            PyBytes_FromStringAndSize(<const char *>self._ended_took, count * sizeof(int64_t)),
            PyBytes_FromStringAndSize(<const char *>self._ended_behind, count * sizeof(int64_t)),
            PyBytes_FromStringAndSize(<const char *>self._ended_kinds, count * sizeof(int)),
        )

    def run(self, int64_t until, int64_t end, int64_t left, const int64_t[::1] dues=None):
        cdef int place
        self._end, self._left, self.begun = end, left, 0
        self._is_open = dues is not None
        self._dues = &dues[0] if dues is not None and dues.shape[0] else NULL
        self._dues_count = dues.shape[0] if dues is not None else 0
        self._next_due = 0
        self._is_idle = self._is_stopped = False
        with nogil:
            self._run(until)
        self._dues = NULL
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        files = [self._unusual[place] for place in range(self._unusual_count)]
        self._unusual_count = 0
        return files

    # The loop.

    cdef void _run(self, int64_t until) noexcept nogil:
        cdef epoll_event events[MOST_EVENTS]
        cdef timespec wait
        cdef int64_t left
        cdef int count, place
        while True:
            self._now = clock()
            self._look_at_the_clock()
            self._begin_what_is_due()
            self._push_dirty()
            if self._unusual_count or self._is_idle or self._is_stopped or self._now >= until or self._is_full():
                return
            left = self._next_moment(until) - self._now
            wait.tv_sec, wait.tv_nsec = 0, 0
            if left > 0:
                wait.tv_sec, wait.tv_nsec = left // NANOSECONDS, left % NANOSECONDS
            count = wait_exactly(self._poller, events, MOST_EVENTS, &wait)
            if count < 0:
                # A signal has come, which Python has to see.
                return
            for place in range(count):
                self._serve(events[place].data.fd, events[place].events)
                if self._is_open and self._roomy_count:
                    self._begin_what_is_due()
                self._push_dirty()

    cdef int64_t _next_moment(self, int64_t until) noexcept nogil:
        """When there is something to do though nothing comes."""
        if self._next_due < self._dues_count:
            # Without room it is only looked at to give it up.
            until = min(until, self._dues[self._next_due] + (0 if self._roomy_count else self._timeout))
        if self._waiting.first >= 0:
            until = min(until, self._calls[self._waiting.first].due + self._timeout)
        if self._late.first >= 0:
            until = min(until, self._calls[self._late.first].due + 2 * self._timeout)
        return until

    cdef bint _is_full(self) noexcept nogil:
        return self.ended >= MOST_ENDED

    cdef void _look_at_the_clock(self) noexcept nogil:
        """Gives up what has taken too long."""
        cdef int place
        while self._waiting.first >= 0:
            place = self._waiting.first
            if self._now - self._calls[place].due <= self._timeout:
                break
            self._give_up(place)
        while self._late.first >= 0:
            place = self._late.first
            if self._now - self._calls[place].due <= 2 * self._timeout:
                break
            # The answer to a request that was given up has not come either.
            self._lose(&self._lines[place // self._most], place // self._most, IS_IN_ORDER, 0)

    cdef void _give_up(self, int place) noexcept nogil:
        cdef Call *call = &self._calls[place]
        cdef int file = place // self._most
        cdef Line *line = &self._lines[file]
        self._record(call, TIMED_OUT)
        self._unlink(&self._waiting, place)
        self.under_way -= 1
        if line.is_call:
            # What comes of it later belongs to no call, and is passed over.
            self._free_call(line, file, call, True)
            return
        # Nothing but its answer tells where the next one begins.
        call.is_late = True
        self._link(&self._late, place)

    cdef void _begin_what_is_due(self) noexcept nogil:
        cdef int64_t due, behind = 0
        cdef int file
        while True:
            if self._is_full():
                return
            if self._is_open:
                if self._next_due == self._dues_count or self._dues[self._next_due] > self._now:
                    break
                due = self._dues[self._next_due]
                if self._now - due > self._timeout:
                    self._next_due += 1
                    self.begun += 1
                    self._note(due, -1, UNSENT)
                    continue
                if not self._roomy_count:
                    return
                self._next_due += 1
                self.begun += 1
                behind = self._now - max(due, self._roomy_since)
            else:
                if not self._roomy_count:
                    return
                due = self._take_due(self._now)
                if due < 0:
                    break
            # Requests of HTTP/1.1 keep to few connections; calls are spread over all of them.
            file = self._roomy[self._roomy_count - 1]
            if self._lines[file].is_call:
                self._roomy_next += 1
                file = self._roomy[self._roomy_next % self._roomy_count]
            self._begin(&self._lines[file], file, due, behind)

    cdef int64_t _take_due(self, int64_t now) noexcept nogil:
        """From when the request of a closed loop counts that begins now; -1 for none."""
        if now >= self._end or self._left <= 0:
            return -1
        if now >= self._measured_from:
            self._left -= 1
            self.begun += 1
        return now

    cdef void _begin(self, Line *line, int file, int64_t due, int64_t behind) noexcept nogil:
        cdef int place = file * self._most
        cdef Call *call
        cdef Part *part = &self._parts[self.turn]
        while self._calls[place].stream:
            place += 1
        call = &self._calls[place]
        call.due, call.behind, call.number, call.kind, call.is_late = due, behind, self.turn, GOOD, False
        call.sent = call.held = 0
        self.turn = self.turn + 1 if self.turn + 1 < self._parts_count else 0
        self._link(&self._waiting, place)
        self.under_way += 1
        line.under_way += 1
        if not line.is_call:
            call.stream = 1
            line.out, line.out_size, line.out_sent = part.data, part.size, 0
            self._set_room(line, file)
            self._push(line, file)
            return
        line.stream += 2
        call.stream, call.window = line.stream, line.first_window
        line.is_closing |= line.stream >= LAST_STREAM
        if line.is_begun:
            self._frame(line, file, HEADERS, END_HEADERS, line.stream, line.later_block, line.later_block_size)
        else:
            line.is_begun = True
            self._frame(line, file, HEADERS, END_HEADERS, line.stream, line.first_block, line.first_block_size)
        line.pending += 1
        self._pump_call(line, file, call)
        self._set_room(line, file)

    cdef void _serve(self, int file, uint32_t events) noexcept nogil:
        cdef Line *line
        if file >= self._files or self._lines[file].state == ABSENT:
            # Python is about to connect there.
            self._tell(file)
            return
        line = &self._lines[file]
        if line.state == OPEN and line.is_writing and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self._push(line, file)
        if line.state == OPEN and events & (EPOLLIN | EPOLLERR | EPOLLHUP):
            self._read(line, file)

    cdef void _read(self, Line *line, int file) noexcept nogil:
        cdef ssize_t got
        cdef size_t room
        while line.state == OPEN:
            if not self._has_room(line):
                self._fail(line, file)
                return
            room = line.room - line.held
            got = recv(file, line.received + line.held, room, 0)
            if got < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    self._lose(line, file, HAS_ERROR, errno)
                return
            if got == 0:
                self._end_of(line, file)
                return
            line.held += got
            self.received_bytes += got
            if line.is_call:
                self._read_frames(line, file)
            else:
                self._read_answer(line, file)
            # A read that was not filled has taken all there is.
            if <size_t>got < room:
                return

    cdef bint _has_room(self, Line *line) noexcept nogil:
        # One byte more than is expected, so that the last read is not a full one.
        cdef size_t wanted = max(line.held + SMALLEST_ROOM, 2 * line.held, line.expected + 1)
        cdef char *larger
        if line.room >= line.held + SMALLEST_ROOM or (line.expected and line.room > line.expected):
            return True
        larger = <char *>realloc(line.received, wanted)
        if larger is NULL:
            return False
        line.received, line.room = larger, wanted
        return True

    # HTTP/1.1.

    cdef void _read_answer(self, Line *line, int file) noexcept nogil:
        cdef Call *call = &self._calls[file * self._most]
        cdef int64_t head, body
        cdef int kind
        if not call.stream:
            self._lose(line, file, HAS_MORE, 0)
            return
        if not line.is_slow and not line.expected:
            head = http1_head(line.received, line.held, &line.status, &body)
            if head == 0:
                return
            line.is_slow = head < 0
            if head > 0:
                line.head, line.expected = head, head + body
        if line.is_slow:
            kind = self._ask_piece(file, call.number, line.received, line.held)
            line.held = 0
            if kind == IS_NOT_WHOLE:
                return
            if kind == IS_BROKEN:
                self._lose(line, file, IS_SAID, 0)
                return
            line.is_slow = False
            line.is_closing |= kind & 1
            self._finish(line, file, call, kind >> 1)
            return
        if line.held < line.expected:
            return
        if line.held > line.expected:
            self._lose(line, file, HAS_MORE, 0)
            return
        if line.status == 200:
            kind = self._judge(call.number, line.received + line.head, line.expected - line.head)
        else:
            kind = self._statuses[line.status]
            if not kind:
                kind = self._ask_status(line.status, line.received + line.head, line.expected - line.head)
                self._statuses[line.status] = kind
        line.held = line.expected = 0
        self._finish(line, file, call, kind)

    cdef void _end_of(self, Line *line, int file) noexcept nogil:
        """The server has ended the connection."""
        cdef int kind
        if line.is_slow:
            kind = self._ask_piece(file, self._calls[file * self._most].number, NULL, 0)
            if kind >= 0:
                line.is_closing = True
                self._finish(line, file, &self._calls[file * self._most], kind >> 1)
            else:
                self._lose(line, file, IS_SAID, 0)
            return
        self._lose(line, file, IS_CLOSED, 0)

    # HTTP/2.

    cdef void _read_frames(self, Line *line, int file) noexcept nogil:
        cdef size_t position = 0, length
        cdef const uint8_t *p
        while line.state == OPEN and line.held - position >= FRAME_HEAD_BYTES:
            p = <const uint8_t *>line.received + position
            length = <size_t>p[0] << 16 | <size_t>p[1] << 8 | p[2]
            if line.held - position - FRAME_HEAD_BYTES < length:
                break
            position += FRAME_HEAD_BYTES + length
            self._take_frame(
                line, file, p[3], p[4], number_at(p + 5) & LARGEST_NUMBER, p + FRAME_HEAD_BYTES, length
            )
        if line.state != OPEN:
            return
        line.held -= position
        if line.held and position:
            memmove(line.received, line.received + position, line.held)

    cdef void _take_frame(
        self, Line *line, int file, int kind, int flags, int64_t stream, const uint8_t *data, size_t length
    ) noexcept nogil:
        cdef Call *call
        if kind == DATA:
            self._take_data(line, file, flags, stream, data, length)
        elif kind == HEADERS or kind == CONTINUATION:
            self._take_headers(line, file, kind, flags, stream, data, length)
        elif kind == WINDOW_UPDATE and length == 4:
            if stream == 0:
                line.window += number_at(data)
            else:
                call = self._call_of(line, file, stream)
                if call is not NULL:
                    call.window += number_at(data)
            self._pump(line, file)
        elif kind == RST_STREAM and length == 4:
            call = self._call_of(line, file, stream)
            if call is not NULL:
                self._finish(line, file, call, self._ask_reset(number_at(data)))
        elif kind == SETTINGS and not flags & ACK:
            self._take_settings(line, file, data, length)
        elif kind == PING and not flags & ACK:
            self._frame(line, file, PING, ACK, 0, <const char *>data, length)
        elif kind == GOAWAY:
            if length < 8 or number_at(data + 4):
                self._lose(line, file, GOES_AWAY, number_at(data + 4) if length >= 8 else 0)
            elif line.under_way and number_at(data) & LARGEST_NUMBER < line.stream:
                self._lose(line, file, GOES_AWAY, 0)
            else:
                line.is_closing = True
                self._set_room(line, file)
                self._end_if_done(line, file)

    cdef void _take_settings(self, Line *line, int file, const uint8_t *data, size_t length) noexcept nogil:
        cdef size_t position
        cdef int64_t value, more
        cdef int number, place
        if length % 6:
            self._lose(line, file, IS_NO_FRAME, 0)
            return
        for position in range(0, length, 6):
            number, value = data[position] << 8 | data[position + 1], number_at(data + position + 2)
            if number == HEADER_TABLE_SIZE:
                # The blocks that were made for this connection may name what the table does not hold any more.
                line.is_closing = True
            elif number == MAX_CONCURRENT_STREAMS:
                line.most = <int>min(value, self._most)
            elif number == MAX_FRAME_SIZE:
                line.max_frame = value
            elif number == INITIAL_WINDOW_SIZE:
                more, line.first_window = value - line.first_window, value
                for place in range(file * self._most, (file + 1) * self._most):
                    self._calls[place].window += more
        self._frame(line, file, SETTINGS, ACK, 0, NULL, 0)
        self._pump(line, file)
        self._set_room(line, file)
        self._end_if_done(line, file)

    cdef void _take_data(
        self, Line *line, int file, int flags, int64_t stream, const uint8_t *data, size_t length
    ) noexcept nogil:
        cdef Call *call = self._call_of(line, file, stream)
        cdef char number[4]
        line.taken += length
        if line.taken >= REPLENISH_FROM:
            put_number(number, line.taken)
            self._frame(line, file, WINDOW_UPDATE, 0, 0, number, 4)
            line.taken = 0
        if call is NULL:
            return
        if flags & PADDED:
            if not length or data[0] >= length:
                self._lose(line, file, IS_NO_FRAME, 0)
                return
            length -= 1 + data[0]
            data += 1
        if not self._keep(call, <const char *>data, length):
            self._fail(line, file)
            return
        if flags & END_STREAM:
            self._finish(line, file, call, call.kind or WITHOUT_STATUS)

    cdef bint _keep(self, Call *call, const char *data, size_t length) noexcept nogil:
        cdef size_t wanted
        cdef char *larger
        if call.room < call.held + length:
            wanted = max(call.held + length, 2 * call.room, <size_t>256)
            larger = <char *>realloc(call.message, wanted)
            if larger is NULL:
                return False
            call.message, call.room = larger, wanted
        memcpy(call.message + call.held, data, length)
        call.held += length
        return True

    cdef void _take_headers(
        self, Line *line, int file, int kind, int flags, int64_t stream, const uint8_t *data, size_t length
    ) noexcept nogil:
        cdef size_t padding = 0, begin = 0
        cdef char *larger
        if kind == HEADERS:
            if flags & PADDED:
                padding, begin = data[0] if length else 0, 1
            if flags & HAS_PRIORITY:
                begin += 5
            if length < begin + padding or line.block is not NULL:
                self._lose(line, file, IS_NO_FRAME, 0)
                return
            data, length = data + begin, length - begin - padding
            line.block_stream, line.block_is_end = stream, flags & END_STREAM != 0
            if flags & END_HEADERS:
                self._take_block(line, file, <const char *>data, length)
                return
        elif line.block is NULL or stream != line.block_stream or line.block_size > MOST_HEAD_BYTES:
            self._lose(line, file, IS_NO_FRAME, 0)
            return
        larger = <char *>realloc(line.block, line.block_size + length + 1)
        if larger is NULL:
            self._fail(line, file)
            return
        memcpy(larger + line.block_size, data, length)
        line.block = larger
        line.block_size += length
        if flags & END_HEADERS:
            self._take_block(line, file, line.block, line.block_size)
            free(line.block)
            line.block, line.block_size = NULL, 0

    cdef void _take_block(self, Line *line, int file, const char *data, size_t size) noexcept nogil:
        """A header block is whole: the headers of a call, or its trailers."""
        cdef Call *call
        # Also what belongs to no call has to be read, because it may change what later blocks mean.
        cdef int kind = self._block_kind(line, file, data, size)
        cdef uint32_t announced
        if line.state != OPEN:
            return
        call = self._call_of(line, file, line.block_stream)
        if call is NULL:
            return
        if not line.block_is_end:
            call.kind = kind
            return
        if kind == GOOD:
            if call.held < PREFIX_BYTES:
                kind = WITHOUT_MESSAGE
            else:
                announced = number_at(<const uint8_t *>call.message + 1)
                if call.held - PREFIX_BYTES != announced:
                    kind = WITHOUT_MESSAGE
                else:
                    kind = self._judge(call.number, call.message, call.held)
        elif kind == WITHOUT_STATUS and call.kind:
            kind = call.kind
        self._finish(line, file, call, kind)

    cdef int _block_kind(self, Line *line, int file, const char *data, size_t size) noexcept nogil:
        cdef int place, kind
        cdef Text *known
        cdef char *kept
        for place in range(line.known_count):
            known = &line.known[place]
            if known.size == size and known.is_end == line.block_is_end and memcmp(known.data, data, size) == 0:
                return known.kind
        kind = self._ask_block(file, data, size, line.block_is_end)
        if kind == IS_BROKEN:
            self._lose(line, file, IS_SAID, 0)
            return kind
        if kind < 0:
            # The table has changed, and with it what blocks mean.
            self._forget_blocks(line)
            return -3 - kind
        if line.known_count < KNOWN_BLOCKS:
            kept = <char *>malloc(size + 1)
            if kept is not NULL:
                memcpy(kept, data, size)
                line.known[line.known_count] = Text(kept, size, kind, line.block_is_end)
                line.known_count += 1
        return kind

    cdef Call *_call_of(self, Line *line, int file, int64_t stream) noexcept nogil:
        """The call that a stream belongs to; NULL for none, such as one that was given up."""
        cdef int place
        if stream > 0 and line.under_way:
            for place in range(file * self._most, (file + 1) * self._most):
                if self._calls[place].stream == stream:
                    return &self._calls[place]
        return NULL

    cdef void _frame(
        self, Line *line, int file, int kind, int flags, int64_t stream, const char *data, size_t length
    ) noexcept nogil:
        """Puts a frame behind those that are to be sent."""
        cdef char *p = self._space(line, file, FRAME_HEAD_BYTES + length)
        if p is NULL:
            return
        p = put_head(p, length, kind, flags, stream)
        if length:
            memcpy(p, data, length)

    cdef char *_space(self, Line *line, int file, size_t size) noexcept nogil:
        """Where so many more bytes go that are to be sent; NULL if the connection is gone."""
        cdef size_t left = line.out_size - line.out_sent, wanted
        cdef char *larger
        if line.state != OPEN:
            return NULL
        if line.out_sent:
            memmove(line.frames, line.frames + line.out_sent, left)
            line.out_size, line.out_sent = left, 0
        if line.frames_room < left + size:
            wanted = max(left + size, 2 * line.frames_room, <size_t>4096)
            larger = <char *>realloc(line.frames, wanted)
            if larger is NULL:
                self._fail(line, file)
                return NULL
            line.frames, line.frames_room = larger, wanted
        line.out = line.frames
        line.out_size = left + size
        if not line.is_dirty:
            line.is_dirty = True
            self._dirty[self._dirty_count] = file
            self._dirty_count += 1
        return line.frames + left

    cdef void _pump(self, Line *line, int file) noexcept nogil:
        """Puts out what the windows let through of messages that have begun."""
        cdef int place
        if not line.pending:
            return
        for place in range(file * self._most, (file + 1) * self._most):
            if self._calls[place].stream and self._calls[place].sent < self._parts[self._calls[place].number].size:
                self._pump_call(line, file, &self._calls[place])
        self._set_room(line, file)

    cdef void _pump_call(self, Line *line, int file, Call *call) noexcept nogil:
        cdef Part *part = &self._parts[call.number]
        cdef int64_t size
        cdef char *p
        while call.sent < part.size and line.out_size - line.out_sent < MOST_UNSENT:
            size = min(<int64_t>(part.size - call.sent), min(line.max_frame, min(line.window, call.window)))
            if size <= 0:
                return
            p = self._space(line, file, FRAME_HEAD_BYTES + size)
            if p is NULL:
                return
            p = put_head(p, size, DATA, END_STREAM if call.sent + size == part.size else 0, call.stream)
            memcpy(p, part.data + call.sent, size)
            call.sent += size
            call.window -= size
            line.window -= size
            if call.sent == part.size:
                line.pending -= 1

    # Of both.

    cdef int _judge(self, Py_ssize_t number, const char *body, size_t size) noexcept nogil:
        cdef Text *known = &self._bodies[number * KNOWN_BODIES]
        cdef Text *oldest
        cdef int place, kind
        if not self._is_judged:
            return GOOD
        for place in range(min(self._bodies_count[number], <int>KNOWN_BODIES)):
            if known[place].size == size and memcmp(known[place].data, body, size) == 0:
                return GOOD
        kind = self._ask_judge(number, body, size)
        if kind == GOOD and size <= LARGEST_KNOWN_BODY:
            oldest = &known[self._bodies_count[number] % KNOWN_BODIES]
            free(oldest.data)
            oldest.data = <char *>malloc(size + 1)
            oldest.size = size
            if oldest.data is NULL:
                # Never the size of an answer.
                oldest.size = <size_t>-1
            else:
                memcpy(oldest.data, body, size)
            self._bodies_count[number] += 1
        return kind

    cdef void _finish(self, Line *line, int file, Call *call, int kind) noexcept nogil:
        """An answer is whole; in a closed loop the next request begins if there is one."""
        cdef int place = <int>(call - self._calls)
        cdef int64_t due
        cdef bint is_cut
        self._now = clock()
        if call.is_late:
            self._unlink(&self._late, place)
        else:
            self._unlink(&self._waiting, place)
            self.under_way -= 1
            self._record(call, kind)
        # The server may not want the rest of the request: of a call that can be said, of HTTP/1.1 not.
        is_cut = line.is_call and call.sent < self._parts[call.number].size
        line.is_closing |= not line.is_call and line.out_sent < line.out_size
        self._free_call(line, file, call, is_cut)
        if not self._is_open and line.place >= 0:
            due = self._take_due(self._now)
            if due >= 0:
                self._begin(line, file, due, 0)
        if not self.under_way and (not self._is_open or self._next_due == self._dues_count):
            self._is_idle = True

    cdef void _free_call(self, Line *line, int file, Call *call, bint is_cancelled) noexcept nogil:
        cdef int64_t stream = call.stream
        cdef char number[4]
        if line.is_call and call.sent < self._parts[call.number].size:
            line.pending -= 1
        call.stream = 0
        line.under_way -= 1
        if call.room > SMALLEST_ROOM:
            free(call.message)
            call.message, call.room = NULL, 0
        if is_cancelled:
            put_number(number, CANCEL)
            self._frame(line, file, RST_STREAM, 0, stream, number, 4)
        self._set_room(line, file)
        self._end_if_done(line, file)

    cdef void _end_if_done(self, Line *line, int file) noexcept nogil:
        if line.is_closing and not line.under_way:
            self._lose(line, file, IS_IN_ORDER, 0)

    cdef void _set_room(self, Line *line, int file) noexcept nogil:
        """Notes whether a further request can begin on a connection."""
        cdef bint has_room = (
            line.state == OPEN
            and not line.is_closing
            and line.under_way < line.most
            and not line.pending
            and line.out_size - line.out_sent < MOST_UNSENT
        )
        cdef int last
        if has_room == (line.place >= 0):
            return
        if has_room:
            if not self._roomy_count:
                self._roomy_since = self._now
            line.place = self._roomy_count
            self._roomy[self._roomy_count] = file
            self._roomy_count += 1
            return
        self._roomy_count -= 1
        last = self._roomy[self._roomy_count]
        self._roomy[line.place] = last
        self._lines[last].place = line.place
        line.place = -1

    cdef void _push_dirty(self) noexcept nogil:
        """Sends the frames of all connections that have some, each with one call of the system."""
        cdef int file
        while self._dirty_count:
            self._dirty_count -= 1
            file = self._dirty[self._dirty_count]
            self._lines[file].is_dirty = False
            if self._lines[file].state == OPEN and not self._lines[file].is_writing:
                self._push(&self._lines[file], file)

    cdef void _push(self, Line *line, int file) noexcept nogil:
        """Sends what the socket takes."""
        cdef ssize_t sent
        cdef bint is_writing
        while line.out_sent < line.out_size:
            sent = send(file, line.out + line.out_sent, line.out_size - line.out_sent, MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    self._lose(line, file, HAS_ERROR, errno)
                    return
                break
            line.out_sent += sent
            self.sent_bytes += sent
            if line.is_call and line.out_sent == line.out_size:
                line.out_sent = line.out_size = 0
                self._pump(line, file)
        is_writing = line.out_sent < line.out_size
        if is_writing != line.is_writing:
            self._watch(line, file, is_writing)
        self._set_room(line, file)

    cdef void _watch(self, Line *line, int file, bint is_writing) noexcept nogil:
        cdef epoll_event event
        line.is_writing = is_writing
        event.events = (EPOLLIN | EPOLLOUT) if is_writing else EPOLLIN
        event.data.fd = file
        epoll_ctl(self._poller, EPOLL_CTL_MOD, file, &event)

    cdef void _lose(self, Line *line, int file, int reason, int error) noexcept nogil:
        """A connection is of no use any more: its requests have failed, and Python has to look at it."""
        cdef int place
        cdef Call *call
        if line.state != OPEN:
            return
        line.state, line.reason, line.error, line.lost = GONE, reason, error, 0
        for place in range(file * self._most, (file + 1) * self._most):
            call = &self._calls[place]
            if not call.stream:
                continue
            call.stream = 0
            if call.is_late:
                self._unlink(&self._late, place)
                continue
            self._unlink(&self._waiting, place)
            self.under_way -= 1
            line.lost += 1
            self._record(call, DROPPED)
        line.under_way = 0
        self._set_room(line, file)
        self._tell(file)

    cdef void _fail(self, Line *line, int file) noexcept nogil:
        """There is no more memory."""
        self._lose(line, file, IS_IN_ORDER, 0)
        self._stop_for_memory()

    cdef void _tell(self, int file) noexcept nogil:
        cdef int place
        for place in range(self._unusual_count):
            if self._unusual[place] == file:
                return
        if self._unusual_count < self._files + MOST_EVENTS:
            self._unusual[self._unusual_count] = file
            self._unusual_count += 1

    cdef void _link(self, Queue *queue, int place) noexcept nogil:
        cdef Call *call = &self._calls[place]
        call.before, call.after = queue.last, -1
        if queue.last >= 0:
            self._calls[queue.last].after = place
        else:
            queue.first = place
        queue.last = place

    cdef void _unlink(self, Queue *queue, int place) noexcept nogil:
        cdef Call *call = &self._calls[place]
        if call.before >= 0:
            self._calls[call.before].after = call.after
        else:
            queue.first = call.after
        if call.after >= 0:
            self._calls[call.after].before = call.before
        else:
            queue.last = call.before

    cdef void _record(self, Call *call, int kind) noexcept nogil:
        self._note(call.due, call.behind, kind)

    cdef void _note(self, int64_t due, int64_t behind, int kind) noexcept nogil:
        if due < self._measured_from:
            return
        if self.ended == self._ended_room and not self._make_room_for_ended():
            self._stop_for_memory()
            return
        self._ended_dues[self.ended], self._ended_took[self.ended] = due, self._now - due
        self._ended_behind[self.ended], self._ended_kinds[self.ended] = behind, kind
        self.ended += 1

    cdef bint _make_room_for_ended(self) noexcept nogil:
        cdef Py_ssize_t wanted = max(2 * self._ended_room, <Py_ssize_t>MOST_ENDED + MOST_EVENTS)
        dues = <int64_t *>realloc(self._ended_dues, wanted * sizeof(int64_t))
        if dues is NULL:
            return False
        self._ended_dues = dues
        took = <int64_t *>realloc(self._ended_took, wanted * sizeof(int64_t))
        if took is NULL:
            return False
        self._ended_took = took
        behind = <int64_t *>realloc(self._ended_behind, wanted * sizeof(int64_t))
        if behind is NULL:
            return False
        self._ended_behind = behind
        kinds = <int *>realloc(self._ended_kinds, wanted * sizeof(int))
        if kinds is NULL:
            return False
        self._ended_kinds, self._ended_room = kinds, wanted
        return True

    # What is asked of the reader. Its errors end the run.

    cdef int _ask_piece(self, int file, Py_ssize_t number, const char *data, size_t size) noexcept with gil:
        try:
            if data is NULL:
                return self._reader.end(file, number)
            return self._reader.piece(file, number, PyBytes_FromStringAndSize(data, size))
        except BaseException as problem:
            self._stop(problem)
            return IS_BROKEN

    cdef int _ask_status(self, int status, const char *data, size_t size) noexcept with gil:
        try:
            return self._reader.status(status, PyBytes_FromStringAndSize(data, size))
        except BaseException as problem:
            self._stop(problem)
            return DROPPED

    cdef int _ask_block(self, int file, const char *data, size_t size, bint is_end) noexcept with gil:
        try:
            return self._reader.block(file, PyBytes_FromStringAndSize(data, size), is_end)
        except BaseException as problem:
            self._stop(problem)
            return IS_BROKEN

    cdef int _ask_reset(self, uint32_t code) noexcept with gil:
        try:
            return self._reader.reset(code)
        except BaseException as problem:
            self._stop(problem)
            return DROPPED

    cdef int _ask_judge(self, Py_ssize_t number, const char *data, size_t size) noexcept with gil:
        try:
            return self._reader.judge(number, PyBytes_FromStringAndSize(data, size))
        except BaseException as problem:
            self._stop(problem)
            return DROPPED

    cdef _stop(self, problem):
        if self._problem is None:
            self._problem = problem
        self._is_stopped = True

    cdef void _stop_for_memory(self) noexcept with gil:
        self._stop(MemoryError())

    # Connections come and go.

    cdef Line *_take(self, int file, bint is_call, int most) except NULL:
        cdef Line *line
        if file < 0:
            raise ValueError("expected a file descriptor")
        if file >= self._files:
            self._grow(file + 64)
        line = &self._lines[file]
        if line.state != ABSENT:
            raise ValueError("the connection is here already")
        line.state, line.is_call, line.most = OPEN, is_call, most
        line.is_writing = line.is_closing = line.is_slow = False
        line.under_way = line.pending = 0
        line.held = line.expected = line.out_size = line.out_sent = 0
        self._now = clock()
        self._set_room(line, file)
        return line

    cdef void _forget(self, Line *line) noexcept nogil:
        self._forget_blocks(line)
        free(line.block)
        line.block, line.block_size = NULL, 0

    cdef void _forget_blocks(self, Line *line) noexcept nogil:
        cdef int place
        for place in range(line.known_count):
            free(line.known[place].data)
        line.known_count = 0

    cdef _grow(self, int files):
        cdef int file
        cdef Py_ssize_t place
        lines = <Line *>realloc(self._lines, (files + 1) * sizeof(Line))
        if lines is NULL:
            raise MemoryError
        self._lines = lines
        calls = <Call *>realloc(self._calls, (<size_t>files * self._most + 1) * sizeof(Call))
        if calls is NULL:
            raise MemoryError
        self._calls = calls
        self._roomy = self._more(self._roomy, files + 1)
        self._dirty = self._more(self._dirty, files + 1)
        # All of them, and the files of as many events that are none of them.
        self._unusual = self._more(self._unusual, files + MOST_EVENTS)
        if files > self._files:
            memset(&self._lines[self._files], 0, (files - self._files) * sizeof(Line))
            for file in range(self._files, files):
                self._lines[file].place = -1
            place = <Py_ssize_t>self._files * self._most
            memset(&self._calls[place], 0, (<size_t>files * self._most - place) * sizeof(Call))
            self._files = files

    cdef int *_more(self, int *numbers, int count) except NULL:
        cdef int *larger = <int *>realloc(numbers, count * sizeof(int))
        if larger is NULL:
            raise MemoryError
        return larger

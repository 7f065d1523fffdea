# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Requests that are sent again and again, and their answers as long as they are usual, in C: see `repeater`.

Nothing here knows what is wrong, or what to say of it: a connection on which anything unusual comes goes back to Python
with all that came since its last whole answer. Linux only: it waits with epoll.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.types cimport sigset_t

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    int epoll_wait(int poller, epoll_event *events, int most, int milliseconds)
    int epoll_ctl(int poller, int operation, int file, epoll_event *event)
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_MOD

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen

    ssize_t sendmsg(int file, const msghdr *message, int flags)
    ssize_t recv(int file, void *buffer, size_t size, int flags)
    enum:
        MSG_NOSIGNAL

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    #include <signal.h>
    """
    cdef struct pollfd:
        int fd
        short events
        short revents

    int ppoll(pollfd *files, unsigned long count, const timespec *timeout, const sigset_t *mask) nogil
    enum:
        POLLIN

REVISION = 1

cdef enum:
    MOST_EVENTS = 256
    MOST_LATENCIES = 1 << 14
    SMALLEST_ROOM = 16 << 10
    # What an answer's head may have here; one of more goes the other way.
    MOST_HEAD_BYTES = 16 << 10
    NANOSECONDS = 1_000_000_000
    MILLISECOND = 1_000_000
    # As in `wires.http2_frames`.
    FRAME_HEAD_BYTES = 9
    PREFIX_BYTES = 5
    DATA = 0
    HEADERS = 1
    WINDOW_UPDATE = 8
    END_STREAM = 1
    END_HEADERS = 4
    LARGEST_NUMBER = 0x7FFFFFFF
    # As in `grpc_client`.
    LAST_STREAM = 1 << 30
    REPLENISH_FROM = 1 << 29

# What `http1_answer` and `call_answer` say in place of a size.
cdef enum:
    IS_NOT_WHOLE = 0
    IS_UNUSUAL = -1

cdef enum State:
    ABSENT = 0
    IDLE
    UNDER_WAY
    LEFT

cdef struct Part:
    # Bytes that the tuple in `_kept` holds.
    const char *head
    size_t head_size
    const char *body
    size_t body_size

cdef struct Line:
    State state
    bint is_call
    bint is_writing
    int error
    int64_t due
    int64_t since
    Py_ssize_t number
    # What has come since the last whole answer.
    char *received
    size_t held
    size_t room
    # How many bytes the answer under way has, as soon as that is known; 0 before. Of HTTP/1.1 only.
    size_t expected
    # The frames before the parts of the request under way, and how much of all of it has been sent.
    char *frames
    size_t frames_size
    size_t sent
    size_t size
    # Of gRPC only: `block`, `initial` and `trailers` are held by `_blocks`.
    int64_t stream
    int64_t window
    int64_t most
    int64_t taken
    const char *block
    size_t block_size
    const char *initial
    size_t initial_size
    const char *trailers
    size_t trailers_size


cdef inline int64_t clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * NANOSECONDS + now.tv_nsec


cdef inline uint32_t number_at(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline char *put_head(char *to, size_t length, int kind, int flags, int64_t stream) noexcept nogil:
    cdef uint8_t *p = <uint8_t *>to
    p[0] = <uint8_t>(length >> 16)
    p[1] = <uint8_t>(length >> 8)
    p[2] = <uint8_t>length
    p[3] = <uint8_t>kind
    p[4] = <uint8_t>flags
    p[5] = <uint8_t>(stream >> 24)
    p[6] = <uint8_t>(stream >> 16)
    p[7] = <uint8_t>(stream >> 8)
    p[8] = <uint8_t>stream
    return to + FRAME_HEAD_BYTES


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


cdef int64_t http1_size(const char *data, size_t size) noexcept nogil:
    """The bytes of the answer that begins here, head and body, as soon as its head is there."""
    cdef const char *text = data
    cdef const char *end
    cdef const char *last = data + size
    cdef int64_t length = -1
    cdef size_t line
    # What cannot become one any more is told at once: nothing else may come.
    if memcmp(data, b"HTTP/1.1 200 ", min(size, <size_t>13)) != 0:
        return IS_UNUSUAL
    while True:
        end = <const char *>memchr(text, c"\n", last - text)
        if end is NULL:
            return IS_UNUSUAL if size > MOST_HEAD_BYTES else IS_NOT_WHOLE
        if end == text or (end - 1)[0] != c"\r":
            return IS_UNUSUAL
        line = end - text - 1
        if line == 0:
            return IS_UNUSUAL if length < 0 else (end + 1 - data) + length
        if line >= 15 and is_name(text, b"content-length:", 15):
            if length >= 0:
                return IS_UNUSUAL
            length = content_length(text + 15, end - 1)
            if length < 0:
                return IS_UNUSUAL
        elif line >= 18 and is_name(text, b"transfer-encoding:", 18):
            return IS_UNUSUAL
        elif line >= 11 and is_name(text, b"connection:", 11):
            if line != 22 or not is_name(text + 11, b" keep-alive", 11):
                return IS_UNUSUAL
        text = end + 1


cdef int64_t call_size(
    const Line *line, const char *data, size_t size, int64_t *window, int64_t *taken
) noexcept nogil:
    """The bytes of the frames up to the end of the call under way; what they add to the window and take of the other.

    The usual call is answered by the two blocks of headers of the one before, and frames of data between them.
    """
    cdef const uint8_t *p = <const uint8_t *>data
    cdef size_t position = 0, length, message = 0, announced = 0
    cdef int64_t stream
    cdef int kind, flags
    cdef bint is_begun = False
    window[0] = taken[0] = 0
    while size - position >= FRAME_HEAD_BYTES:
        p = <const uint8_t *>data + position
        length = <size_t>p[0] << 16 | <size_t>p[1] << 8 | p[2]
        kind, flags, stream = p[3], p[4], number_at(p + 5) & LARGEST_NUMBER
        p += FRAME_HEAD_BYTES
        if kind == WINDOW_UPDATE:
            if length != 4:
                return IS_UNUSUAL
        elif stream != line.stream or (kind != HEADERS and kind != DATA):
            return IS_UNUSUAL
        if size - position - FRAME_HEAD_BYTES < length:
            return IS_NOT_WHOLE
        position += FRAME_HEAD_BYTES + length
        if kind == WINDOW_UPDATE:
            if stream == 0:
                window[0] += number_at(p)
        elif kind == DATA:
            if not is_begun or flags:
                return IS_UNUSUAL
            if not message:
                if length < PREFIX_BYTES or p[0]:
                    return IS_UNUSUAL
                announced = <size_t>PREFIX_BYTES + number_at(p + 1)
            message += length
            taken[0] += length
        elif not is_begun:
            if flags != END_HEADERS or length != line.initial_size or memcmp(p, line.initial, length) != 0:
                return IS_UNUSUAL
            is_begun = True
        else:
            if flags != (END_HEADERS | END_STREAM) or length != line.trailers_size:
                return IS_UNUSUAL
            if memcmp(p, line.trailers, length) != 0 or not message or message != announced:
                return IS_UNUSUAL
            return position
    return IS_NOT_WHOLE


def http1_answer(bytes data not None):
    """How many bytes the answer has that begins here; 0 where that is not known yet, -1 where it is unusual."""
    return http1_size(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


def call_answer(bytes data not None, int64_t stream, bytes initial not None, bytes trailers not None):
    """How many bytes the frames have up to the end of a call; 0 where it is not there yet, -1 where one is unusual.

    Beside it, what the frames add to the window of the connection, and how many bytes of data they have.
    """
    cdef Line line
    cdef int64_t window = 0, taken = 0, size
    line.stream = stream
    line.initial, line.initial_size = PyBytes_AS_STRING(initial), PyBytes_GET_SIZE(initial)
    line.trailers, line.trailers_size = PyBytes_AS_STRING(trailers), PyBytes_GET_SIZE(trailers)
    size = call_size(&line, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &window, &taken)
    return size, window, taken


cdef class Repeater:
    """See `repeater.Repeater`."""

    cdef readonly Py_ssize_t turn, under_way, idle
    cdef readonly int64_t begun, sent_bytes, received_bytes
    cdef int _poller
    cdef int64_t _measured_from
    cdef tuple _kept
    cdef dict _blocks
    cdef Part *_parts
    cdef Py_ssize_t _parts_count
    # By file descriptor.
    cdef Line *_lines
    cdef int _files
    cdef int *_idle_files
    cdef int *_unusual
    cdef Py_ssize_t _unusual_count
    cdef int64_t *_latencies
    cdef Py_ssize_t _latencies_count
    cdef int64_t *_lateness
    cdef Py_ssize_t _lateness_count
    # Of one call of `run`.
    cdef int64_t _end, _left
    cdef const int64_t *_dues
    cdef Py_ssize_t _dues_count, _next_due
    cdef bint _is_open
    # Whether all that were under way have ended, and nothing is due: Python knows whether that was all.
    cdef bint _is_idle

    def __cinit__(self, int poller, parts, int64_t measured_from):
        cdef Py_ssize_t number = 0
        cdef bytes head, body
        self._poller = poller
        self._measured_from = measured_from
        self._kept = tuple(parts)
        self._blocks = {}
        self._parts_count = len(self._kept)
        self._parts = <Part *>calloc(self._parts_count + 1, sizeof(Part))
        self._latencies = <int64_t *>malloc(MOST_LATENCIES * sizeof(int64_t))
        self._lateness = <int64_t *>malloc(MOST_LATENCIES * sizeof(int64_t))
        if self._parts is NULL or self._latencies is NULL or self._lateness is NULL:
            raise MemoryError
        for head, body in self._kept:
            self._parts[number] = Part(
                PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head), PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body)
            )
            number += 1

    def __dealloc__(self):
        cdef int file
        for file in range(self._files):
            free(self._lines[file].received)
            free(self._lines[file].frames)
        free(self._lines)
        free(self._idle_files)
        free(self._unusual)
        free(self._parts)
        free(self._latencies)
        free(self._lateness)

    @property
    def answered(self):
        return self._latencies_count

    def take_http1(self, int file, int64_t due, int64_t since, Py_ssize_t number):
        self._take(file, due, since, number, False)

    def take_call(
        self,
        int file,
        int64_t due,
        int64_t since,
        Py_ssize_t number,
        int64_t stream,
        int64_t window,
        int64_t most,
        int64_t taken,
        bytes block not None,
        bytes initial not None,
        bytes trailers not None,
    ):
        cdef size_t size = 2 * FRAME_HEAD_BYTES + PyBytes_GET_SIZE(block)
        cdef char *frames
        self._make_room(file)
        cdef Line *line = &self._lines[file]
        if line.frames is NULL or line.frames_size < size:
            frames = <char *>realloc(line.frames, size)
            if frames is NULL:
                raise MemoryError
            line.frames = frames
        line.frames_size = size
        line.stream, line.window, line.most, line.taken = stream, window, most, taken
        line.block, line.block_size = PyBytes_AS_STRING(block), PyBytes_GET_SIZE(block)
        line.initial, line.initial_size = PyBytes_AS_STRING(initial), PyBytes_GET_SIZE(initial)
        line.trailers, line.trailers_size = PyBytes_AS_STRING(trailers), PyBytes_GET_SIZE(trailers)
        self._blocks[file] = block, initial, trailers
        self._take(file, due, since, number, True)

    def give_back(self, int file):
        cdef Line *line
        cdef bytes received, unsent
        if file < 0 or file >= self._files or self._lines[file].state == ABSENT:
            raise ValueError("the connection is not here")
        line = &self._lines[file]
        received = PyBytes_FromStringAndSize(line.received, line.held)
        unsent = self._unsent(line)
        if line.is_writing:
            self._watch(line, file, False)
        if line.state == IDLE:
            self._forget_idle(file)
        elif line.state == UNDER_WAY:
            self.under_way -= 1
        position = (line.stream, line.window, line.taken)
        line.state = ABSENT
        line.held = line.expected = 0
        if line.room > SMALLEST_ROOM:
            free(line.received)
            line.received, line.room = NULL, 0
        self._blocks.pop(file, None)
        return line.due, line.since, line.number, (received, unsent, line.error, position)

    def overdue(self, int64_t before):
        cdef int file
        return [
            file
            for file in range(self._files)
            if self._lines[file].state == UNDER_WAY and self._lines[file].since < before
        ]

    def latencies(self):
        cdef bytes found = PyBytes_FromStringAndSize(
            <const char *>self._latencies, self._latencies_count * sizeof(int64_t)
        )
        self._latencies_count = 0
        return found

    def lateness(self):
        cdef bytes found = PyBytes_FromStringAndSize(<const char *>self._lateness, self._lateness_count * sizeof(int64_t))
        self._lateness_count = 0
        return found

    def run(self, int64_t until, int64_t end, int64_t left, Py_ssize_t turn, const int64_t[::1] dues=None):
        cdef Py_ssize_t place
        self._end, self._left, self.turn, self.begun = end, left, turn, 0
        self._is_open = dues is not None
        self._dues = &dues[0] if dues is not None and dues.shape[0] else NULL
        self._dues_count = dues.shape[0] if dues is not None else 0
        self._next_due = 0
        self._unusual_count = 0
        self._is_idle = False
        if self._unusual is NULL:
            self._grow(0)
        with nogil:
            self._run(until)
        self._dues = NULL
        return [self._unusual[place] for place in range(self._unusual_count)]

    cdef void _run(self, int64_t until) noexcept nogil:
        cdef epoll_event events[MOST_EVENTS]
        cdef int64_t now, wait
        cdef int count, place
        while True:
            now = clock()
            if self._is_open:
                self._begin_what_is_due(now)
            if self._unusual_count or self._is_idle or now >= until or self._is_full():
                return
            wait = until - now
            if self.idle and self._next_due < self._dues_count and self._dues[self._next_due] < until:
                wait = self._dues[self._next_due] - now
            count = self._wait(events, wait)
            if count < 0:
                return
            for place in range(count):
                self._serve(events[place].data.fd, events[place].events)

    cdef int _wait(self, epoll_event *events, int64_t nanoseconds) noexcept nogil:
        """How many events there are; -1 where a signal has come, which Python has to see."""
        cdef timespec left
        cdef pollfd file
        cdef int count
        if self._is_open:
            # The time that something is due is met better than epoll does, which waits for whole milliseconds.
            if nanoseconds > 0:
                left.tv_sec, left.tv_nsec = nanoseconds // NANOSECONDS, nanoseconds % NANOSECONDS
                file.fd, file.events = self._poller, POLLIN
                if ppoll(&file, 1, &left, NULL) < 0:
                    return -1
            nanoseconds = 0
        count = epoll_wait(
            self._poller, events, MOST_EVENTS, <int>((nanoseconds + MILLISECOND - 1) // MILLISECOND)
        )
        return count

    cdef bint _is_full(self) noexcept nogil:
        # Each event brings one answer at most.
        return max(self._latencies_count, self._lateness_count) > MOST_LATENCIES - MOST_EVENTS

    cdef void _begin_what_is_due(self, int64_t now) noexcept nogil:
        cdef int file
        cdef int64_t due
        while self.idle and not self._is_full():
            file = self._idle_files[self.idle - 1]
            if not self._fits(&self._lines[file]):
                self._leave(file)
                continue
            due = self._take_due(now)
            if due < 0:
                return
            self.idle -= 1
            if due >= self._measured_from:
                self._lateness[self._lateness_count] = now - due
                self._lateness_count += 1
            self._begin(file, due, now)

    cdef int64_t _take_due(self, int64_t now) noexcept nogil:
        """From when the request counts that begins now; -1 for none."""
        cdef int64_t due
        if self._is_open:
            if self._next_due == self._dues_count or self._dues[self._next_due] > now:
                return -1
            due = self._dues[self._next_due]
            self._next_due += 1
            self.begun += 1
            return due
        if now >= self._end or self._left <= 0:
            return -1
        if now >= self._measured_from:
            self._left -= 1
            self.begun += 1
        return now

    cdef void _serve(self, int file, uint32_t events) noexcept nogil:
        cdef Line *line
        if file >= self._files or self._lines[file].state == ABSENT:
            self._leave(file)
            return
        line = &self._lines[file]
        if line.state == LEFT:
            return
        if line.is_writing and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self._push(line, file)
        if events & (EPOLLIN | EPOLLERR | EPOLLHUP) and line.state != LEFT:
            self._read(line, file)

    cdef void _read(self, Line *line, int file) noexcept nogil:
        cdef ssize_t got
        cdef size_t room
        while True:
            if not self._has_room(line):
                self._leave(file)
                return
            room = line.room - line.held
            got = recv(file, line.received + line.held, room, 0)
            if got < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    line.error = errno
                    self._leave(file)
                return
            if got == 0:
                self._leave(file)
                return
            line.held += got
            self.received_bytes += got
            if not self._look(line, file):
                return
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

    cdef bint _look(self, Line *line, int file) noexcept nogil:
        """Whether to go on reading: False where the connection is no more ours."""
        cdef int64_t size, window = 0, taken = 0
        if line.is_call:
            size = call_size(line, line.received, line.held, &window, &taken)
            if size > 0 and (line.stream >= LAST_STREAM or line.taken + taken >= REPLENISH_FROM):
                size = IS_UNUSUAL
        else:
            size = line.expected or http1_size(line.received, line.held)
            if size > 0:
                line.expected = size
                if line.held < <size_t>size:
                    size = IS_NOT_WHOLE
                elif line.held > <size_t>size:
                    size = IS_UNUSUAL
        if size == IS_NOT_WHOLE and (line.state == UNDER_WAY or line.is_call):
            return True
        if size <= 0 or line.state != UNDER_WAY or line.is_writing:
            self._leave(file)
            return False
        line.window += window
        line.taken += taken
        line.held -= size
        if line.held:
            memmove(line.received, line.received + size, line.held)
        line.expected = 0
        self._finish(line, file)
        return line.state != LEFT

    cdef void _finish(self, Line *line, int file) noexcept nogil:
        """An answer is whole; the next request begins if there is one."""
        cdef int64_t now = clock()
        cdef int64_t due
        if line.due >= self._measured_from:
            self._latencies[self._latencies_count] = now - line.due
            self._latencies_count += 1
        self.under_way -= 1
        line.due = 0
        if self._fits(line):
            due = self._take_due(now)
            if due >= 0:
                self._begin(file, due, now)
                return
        line.state = IDLE
        self._idle_files[self.idle] = file
        self.idle += 1
        if not self._fits(line):
            self._leave(file)
        elif not self.under_way and (not self._is_open or self._next_due == self._dues_count):
            self._is_idle = True

    cdef bint _fits(self, Line *line) noexcept nogil:
        """Whether the windows let the next request through at once."""
        cdef int64_t size
        if not line.is_call:
            return True
        size = self._parts[self.turn].head_size + self._parts[self.turn].body_size
        return size <= line.most and size <= line.window and line.stream + 2 < LAST_STREAM

    cdef void _begin(self, int file, int64_t due, int64_t now) noexcept nogil:
        cdef Line *line = &self._lines[file]
        cdef Part *part = &self._parts[self.turn]
        cdef size_t size = part.head_size + part.body_size
        cdef char *p
        line.state = UNDER_WAY
        line.due, line.since, line.number = due, now, self.turn
        self.turn = self.turn + 1 if self.turn + 1 < self._parts_count else 0
        self.under_way += 1
        line.sent, line.size = 0, size
        if line.is_call:
            line.stream += 2
            line.window -= size
            p = put_head(line.frames, line.block_size, HEADERS, END_HEADERS, line.stream)
            memcpy(p, line.block, line.block_size)
            put_head(p + line.block_size, size, DATA, END_STREAM, line.stream)
            line.size += line.frames_size
        self._push(line, file)

    cdef void _push(self, Line *line, int file) noexcept nogil:
        """Sends what the socket takes of the request under way."""
        cdef iovec pieces[3]
        cdef msghdr message
        cdef ssize_t sent
        cdef Part *part = &self._parts[line.number]
        cdef size_t skipped = line.sent, count = 0
        cdef bint is_writing
        count = add_piece(pieces, count, line.frames, line.frames_size if line.is_call else 0, &skipped)
        count = add_piece(pieces, count, <char *>part.head, part.head_size, &skipped)
        count = add_piece(pieces, count, <char *>part.body, part.body_size, &skipped)
        memset(&message, 0, sizeof(message))
        message.msg_iov, message.msg_iovlen = pieces, count
        while True:
            sent = sendmsg(file, &message, MSG_NOSIGNAL)
            if sent >= 0:
                break
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                sent = 0
                break
            line.error = errno
            self._leave(file)
            return
        line.sent += sent
        self.sent_bytes += sent
        is_writing = line.sent < line.size
        if is_writing != line.is_writing:
            self._watch(line, file, is_writing)

    cdef void _watch(self, Line *line, int file, bint is_writing) noexcept nogil:
        cdef epoll_event event
        line.is_writing = is_writing
        event.events = (EPOLLIN | EPOLLOUT) if is_writing else EPOLLIN
        event.data.fd = file
        epoll_ctl(self._poller, EPOLL_CTL_MOD, file, &event)

    cdef void _leave(self, int file) noexcept nogil:
        """Python has to look at a connection."""
        cdef Line *line
        if file < self._files and self._lines[file].state != ABSENT:
            line = &self._lines[file]
            if line.state == LEFT:
                return
            if line.state == IDLE:
                self._forget_idle(file)
            else:
                self.under_way -= 1
            line.state = LEFT
        self._unusual[self._unusual_count] = file
        self._unusual_count += 1

    cdef void _forget_idle(self, int file) noexcept nogil:
        cdef Py_ssize_t place = 0
        while self._idle_files[place] != file:
            place += 1
        self.idle -= 1
        memmove(&self._idle_files[place], &self._idle_files[place + 1], (self.idle - place) * sizeof(int))

    cdef bytes _unsent(self, Line *line):
        """The rest of the request under way."""
        cdef Part *part = &self._parts[line.number]
        if not line.is_writing:
            return b""
        whole = PyBytes_FromStringAndSize(line.frames, line.frames_size if line.is_call else 0)
        whole += PyBytes_FromStringAndSize(part.head, part.head_size)
        whole += PyBytes_FromStringAndSize(part.body, part.body_size)
        return whole[line.sent :]

    cdef _take(self, int file, int64_t due, int64_t since, Py_ssize_t number, bint is_call):
        cdef Line *line
        self._make_room(file)
        line = &self._lines[file]
        if line.state != ABSENT:
            raise ValueError("the connection is here already")
        if number < 0 or number >= self._parts_count:
            raise ValueError("there is no such request")
        line.is_call = is_call
        line.is_writing = False
        line.error = 0
        line.due, line.since, line.number = due, since, number
        line.held = line.expected = line.sent = line.size = 0
        line.state = UNDER_WAY
        self.under_way += 1

    cdef _make_room(self, int file):
        if file < 0:
            raise ValueError("expected a file descriptor")
        if file >= self._files:
            self._grow(file + 64)

    cdef _grow(self, int files):
        cdef Line *lines = <Line *>realloc(self._lines, (files + 1) * sizeof(Line))
        cdef int *numbers
        if lines is NULL:
            raise MemoryError
        self._lines = lines
        numbers = <int *>realloc(self._idle_files, (files + 1) * sizeof(int))
        if numbers is NULL:
            raise MemoryError
        self._idle_files = numbers
        # All of them, and the files of as many events that are none of them.
        numbers = <int *>realloc(self._unusual, (files + MOST_EVENTS + 1) * sizeof(int))
        if numbers is NULL:
            raise MemoryError
        self._unusual = numbers
        if files > self._files:
            memset(&self._lines[self._files], 0, (files - self._files) * sizeof(Line))
            self._files = files


cdef inline size_t add_piece(iovec *pieces, size_t count, char *data, size_t size, size_t *skipped) noexcept nogil:
    """Adds what is not skipped of some bytes; returns how many pieces there are."""
    cdef size_t here = size if skipped[0] > size else skipped[0]
    skipped[0] -= here
    if here == size:
        return count
    pieces[count].iov_base = data + here
    pieces[count].iov_len = size - here
    return count + 1

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Whole calls of gRPC read, and answers written, in C: what `plain_calls` does; see there.

Nothing here knows what is wrong: what is unusual is left to `Http2Connection`. Of every frame it is known that all of
it is there before more than its head is looked at.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

REVISION = 4

# As in `http2_frames`.
cdef enum:
    HEAD_BYTES = 9
    PREFIX_BYTES = 5
    UPDATE_BYTES = 4
    RESET_BYTES = 4
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    WINDOW_UPDATE = 8
    END_STREAM = 1
    END_HEADERS = 4
    LARGEST_NUMBER = 0x7FFFFFFF
    LARGEST_FRAME = 0xFFFFFF
    # As in `plain_calls`.
    MOST_BEGUN = 64
    MOST_AT_ONCE = 256

cdef struct Begun:
    int64_t stream
    int64_t room
    # Borrowed of `heads`, which nobody changes meanwhile: no Python code runs but what reads slots and `is_refused`.
    PyObject *head


cdef inline uint32_t number_at(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline uint8_t *put_number(uint8_t *p, uint32_t number) noexcept nogil:
    p[0] = <uint8_t>(number >> 24)
    p[1] = <uint8_t>(number >> 16)
    p[2] = <uint8_t>(number >> 8)
    p[3] = <uint8_t>number
    return p + 4


cdef inline uint8_t *put_head(uint8_t *p, Py_ssize_t length, int kind, int flags, uint32_t stream) noexcept nogil:
    p[0] = <uint8_t>(length >> 16)
    p[1] = <uint8_t>(length >> 8)
    p[2] = <uint8_t>length
    p[3] = <uint8_t>kind
    p[4] = <uint8_t>flags
    return put_number(p + 5, stream)


cdef inline uint8_t *put_bytes(uint8_t *p, bytes data) noexcept:
    memcpy(p, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return p + PyBytes_GET_SIZE(data)


cdef inline bint is_among(const int64_t *numbers, Py_ssize_t count, int64_t number) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        if numbers[index] == number:
            return True
    return False


cdef bytes refusal_frame(uint32_t stream, bytes block):
    cdef bytes made = PyBytes_FromStringAndSize(NULL, HEAD_BYTES + PyBytes_GET_SIZE(block))
    cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(made)
    put_bytes(put_head(p, PyBytes_GET_SIZE(block), HEADERS, END_HEADERS | END_STREAM, stream), block)
    return made


def read_calls(
    bytes data not None,
    Py_ssize_t position,
    int64_t last_stream,
    dict heads not None,
    Py_ssize_t most,
    int64_t window,
    int64_t send_window,
    int64_t most_opened,
    int64_t largest,
    dict known not None,
    dict elsewhere not None,
    Py_ssize_t most_resets,
    tuple refusing,
):
    """See `plain_calls.read_calls`."""
    cdef const char *text = PyBytes_AS_STRING(data)
    cdef const uint8_t *p
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), length, start, ended = position, count = 0, committed = 0
    cdef Py_ssize_t refused = 0, ended_refused = 0, most_refused = 0
    cdef int64_t stream, increment, used = 0, opened = 0, refused_bytes = 0
    cdef int64_t ended_used = 0, ended_opened = 0, ended_last = last_stream, ended_refused_bytes = 0
    cdef int64_t idle = 0, ended_idle = 0
    cdef int kind, flags, index, others = 0, reset = 0
    cdef bint may_open = False
    cdef Begun begun[MOST_BEGUN]
    cdef int64_t numbers[MOST_AT_ONCE]  # of the calls
    cdef int64_t resets[MOST_AT_ONCE]
    cdef uint32_t codes[MOST_AT_ONCE]
    cdef PyObject *head
    cdef PyObject *refused_head = NULL
    cdef bytes block = b""
    cdef object is_refused = None
    cdef list calls = [], answers = []
    if position < 0:
        raise ValueError("the position is before the data")
    if refusing is not None:
        refused_head = <PyObject *>refusing[0]
        is_refused, block, most_refused = refusing[1], refusing[2], refusing[3]
        if PyBytes_GET_SIZE(block) > LARGEST_FRAME:
            raise ValueError("a block does not fit into a frame")
    if most > MOST_AT_ONCE:
        most = MOST_AT_ONCE
    while size - position >= HEAD_BYTES:
        p = <const uint8_t *>text + position
        length = <Py_ssize_t>p[0] << 16 | <Py_ssize_t>p[1] << 8 | p[2]
        kind, flags, stream = p[3], p[4], number_at(p + 5)
        start = position + HEAD_BYTES
        if length > size - start:
            break
        position = start + length
        p += HEAD_BYTES
        if kind == HEADERS:
            # The reserved bit makes a number too large, and is left to the other road.
            if flags != END_HEADERS or not stream & 1 or stream <= last_stream or stream > LARGEST_NUMBER:
                break
            head = PyDict_GetItem(heads, PyBytes_FromStringAndSize(<const char *>p, length))
            if head is NULL or others == MOST_BEGUN or not (<object>head).takes_whole:
                break
            if count + refused + others >= most:
                break
            begun[others] = Begun(stream, send_window, head)
            others += 1
            last_stream = stream
            may_open = True
        elif kind == DATA:
            index = others - 1
            while index >= 0 and begun[index].stream != stream:
                index -= 1
            used += length
            if (
                index < 0
                or flags != END_STREAM
                or length < PREFIX_BYTES
                or length > largest
                or used > window
                or p[0]
                or number_at(p + 1) != <uint32_t>(length - PREFIX_BYTES)
            ):
                break
            announced = (<object>begun[index].head).content_length
            if announced is not None and announced != length:
                break
            message = PyBytes_FromStringAndSize(<const char *>p + PREFIX_BYTES, length - PREFIX_BYTES)
            if begun[index].head is refused_head and refused < most_refused and is_refused(message):
                answers.append(refusal_frame(<uint32_t>stream, block))
                refused += 1
                refused_bytes += length
            else:
                calls.append((stream, <object>begun[index].head, message, begun[index].room))
                numbers[count] = stream
                count += 1
            others -= 1
            begun[index] = begun[others]
            may_open = True
            idle = 0
            if not others:
                committed, ended, ended_used, ended_opened, ended_last = count, position, used, opened, last_stream
                ended_idle, ended_refused, ended_refused_bytes = 0, refused, refused_bytes
        elif kind == RST_STREAM and length == RESET_BYTES:
            if others or not stream & 1 or stream > last_stream or most_resets < 0 or stream in elsewhere:
                break
            if not is_among(resets, reset, stream) and (is_among(numbers, count, stream) or stream in known):
                if reset >= most_resets or reset == MOST_AT_ONCE:
                    break
                resets[reset], codes[reset] = stream, number_at(p)
                reset += 1
            else:
                idle += 1
            may_open = False
            ended, ended_idle = position, idle
        elif kind == WINDOW_UPDATE and may_open and length == UPDATE_BYTES:
            may_open = False
            increment = number_at(p) & LARGEST_NUMBER
            if not increment:
                break
            if stream:
                index = others - 1
                while index >= 0 and begun[index].stream != stream:
                    index -= 1
                if index < 0 or begun[index].room + increment > LARGEST_NUMBER:
                    break
                begun[index].room += increment
            elif opened + increment > most_opened:
                break
            else:
                opened += increment
                idle += 1
                if not others:
                    ended, ended_opened, ended_idle = position, opened, idle
        else:
            break
    if committed < count:
        del calls[committed:]
    if ended_refused < refused:
        del answers[ended_refused:]
    unusual = None
    if ended_opened or ended_idle or reset or ended_refused:
        given_up = [(resets[index], codes[index]) for index in range(reset)]
        unusual = (ended_opened, ended_idle, given_up, answers, ended_refused_bytes)
    return calls, ended, ended_used, ended_last, unusual


def answer_frames(uint32_t stream, bytes header not None, bytes message not None, bytes trailers not None):
    """See `plain_calls.answer_frames`."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef Py_ssize_t head_size = PyBytes_GET_SIZE(header), trailers_size = PyBytes_GET_SIZE(trailers)
    if max(size + PREFIX_BYTES, head_size, trailers_size) > LARGEST_FRAME:
        raise ValueError("a message or a block does not fit into a frame")
    cdef bytes made = PyBytes_FromStringAndSize(
        NULL, 3 * HEAD_BYTES + head_size + PREFIX_BYTES + size + trailers_size
    )
    cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(made)
    p = put_head(p, head_size, HEADERS, END_HEADERS, stream)
    p = put_bytes(p, header)
    p = put_head(p, size + PREFIX_BYTES, DATA, 0, stream)
    p[0] = 0
    p = put_number(p + 1, <uint32_t>size)
    p = put_bytes(p, message)
    p = put_head(p, trailers_size, HEADERS, END_HEADERS | END_STREAM, stream)
    put_bytes(p, trailers)
    return made

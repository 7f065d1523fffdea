# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The usual PredictRequest, read from its bytes in one pass: what `usual_predict` is about.

Nothing here words an error, or merges what came in pieces. Whatever is wrong, or right in an unusual way, is left to
protobuf and to `tensor_proto`; `read_predict` then says so by None.

Numbers in memory are little endian, as they are on the wire, and on every machine that our engines run on.

Source: protobuf's encoding specification; `predict.proto` and `tensor.proto` for the fields; `tensor_layout` for the
field that each type has.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from hotserve.codecs.wire import length_delimited

REVISION = 6  # to be raised, here and in compiled.py, with every change of what Python sees of this file

ctypedef const unsigned char *Text

cdef enum:
    MAX_INPUTS = 16
    MAX_RANK = 32
    MAX_DTYPE = 23
    MAX_SIZE = 1 << 30
    CONTENT = 4  # the number of tensor_content in TensorProto

cdef struct Layout:
    int number  # of the field with the values; 0 for none that is read here
    int size  # of a value in memory; 0 for a type that is not read here
    bint is_fixed  # whether the field has the bytes of memory, and not varints

cdef struct Tensor:
    Text alias
    Py_ssize_t alias_length
    int dtype
    int rank
    int64_t shape[MAX_RANK]
    int64_t count
    int number  # of the field with the values
    Text values
    Text end

cdef Layout LAYOUTS[MAX_DTYPE + 1]


cdef void set_layout(int dtype, int number, int size, bint is_fixed):
    LAYOUTS[dtype].number = number
    LAYOUTS[dtype].size = size
    LAYOUTS[dtype].is_fixed = is_fixed


set_layout(1, 5, 4, True)  # float
set_layout(2, 6, 8, True)  # double
set_layout(3, 7, 4, False)  # int32
set_layout(4, 7, 1, False)  # uint8
set_layout(5, 7, 2, False)  # int16
set_layout(6, 7, 1, False)  # int8
set_layout(8, 0, 8, True)  # complex64
set_layout(9, 10, 8, False)  # int64
set_layout(10, 11, 1, False)  # bool
set_layout(14, 13, 2, False)  # bfloat16
set_layout(17, 7, 2, False)  # uint16
set_layout(18, 0, 16, True)  # complex128
set_layout(19, 13, 2, False)  # half
set_layout(22, 16, 4, False)  # uint32
set_layout(23, 17, 8, False)  # uint64

cdef enum:
    BOOL = 10


cdef inline Text read_varint(Text p, Text end, uint64_t *value) noexcept nogil:
    """A number of up to 64 bits; NULL where the bytes end, or it is longer."""
    cdef uint64_t number = 0
    cdef int shift = 0
    while p != end:
        number |= <uint64_t>(p[0] & 0x7F) << shift
        if p[0] < 0x80:
            if shift == 63 and p[0] > 1:
                return NULL
            value[0] = number
            return p + 1
        p += 1
        shift += 7
        if shift > 63:
            return NULL
    return NULL


cdef inline Text read_length(Text p, Text end, Text *after) noexcept nogil:
    """Where a field of bytes begins, and where it ends; NULL where it is not whole."""
    cdef uint64_t length
    p = read_varint(p, end, &length)
    if p == NULL or length > <uint64_t>(end - p):
        return NULL
    after[0] = p + length
    return p


cdef bint read_shape(Text p, Text end, Tensor *tensor) noexcept nogil:
    """Nothing but dimensions, each with nothing but a size of 1 or more."""
    cdef Text after
    cdef uint64_t size
    while p != end:
        if p[0] != 0x12 or tensor.rank == MAX_RANK:
            return False
        p = read_length(p + 1, end, &after)
        if p == NULL or p == after or p[0] != 0x08:
            return False
        p = read_varint(p + 1, after, &size)
        # Nothing that fits into a message has as many values as this.
        if p != after or size == 0 or size > MAX_SIZE:
            return False
        tensor.shape[tensor.rank] = <int64_t>size
        tensor.rank += 1
        if tensor.count * <int64_t>size > MAX_SIZE:
            return False
        tensor.count *= <int64_t>size
    return True


cdef bint read_tensor(Text p, Text end, Tensor *tensor) noexcept nogil:
    """A dtype, perhaps a shape, and one field of values, in any order, each once."""
    cdef Text after
    cdef uint64_t value
    cdef bint has_shape = False
    cdef int number
    tensor.dtype = 0
    tensor.rank = 0
    tensor.count = 1
    tensor.number = 0
    while p != end:
        if p[0] == 0x08:
            p = read_varint(p + 1, end, &value)
            if p == NULL or tensor.dtype or value == 0 or value > MAX_DTYPE:
                return False
            tensor.dtype = <int>value
        elif p[0] == 0x12:
            p = read_length(p + 1, end, &after)
            if p == NULL or has_shape or not read_shape(p, after, tensor):
                return False
            has_shape = True
            p = after
        else:
            p = read_varint(p, end, &value)
            if p == NULL or value & 7 != 2 or value >> 3 > 17 or tensor.number:
                return False
            number = <int>(value >> 3)
            p = read_length(p, end, &after)
            if p == NULL or p == after:
                return False
            tensor.number = number
            tensor.values = p
            tensor.end = after
            p = after
    return (
        LAYOUTS[tensor.dtype].size > 0
        and (tensor.number == CONTENT or tensor.number == LAYOUTS[tensor.dtype].number)
        and tensor.number > 0
    )


cdef bint read_entry(Text p, Text end, Tensor *tensor) noexcept nogil:
    """An entry of `inputs`: a key and a tensor, in any order."""
    cdef Text after
    cdef unsigned char tag
    tensor.alias = NULL
    tensor.values = NULL
    while p != end:
        tag = p[0]
        p = read_length(p + 1, end, &after)
        if p == NULL:
            return False
        if tag == 0x0A and tensor.alias == NULL:
            tensor.alias = p
            tensor.alias_length = after - p
        elif tag != 0x12 or tensor.values != NULL or not read_tensor(p, after, tensor):
            return False
        p = after
    return tensor.alias != NULL and tensor.values != NULL


cdef bint copy_values(const Tensor *tensor, unsigned char *to) noexcept nogil:
    """Exactly as many values as the shape has, as they are in memory."""
    cdef Layout layout = LAYOUTS[tensor.dtype]
    cdef Text p = tensor.values
    cdef int64_t i
    cdef uint64_t value
    if tensor.number == CONTENT or layout.is_fixed:
        # Any byte but 0 is a true one, which numpy does not know.
        if tensor.dtype == BOOL and not are_flags(p, tensor.end):
            return False
        memcpy(to, p, tensor.end - p)
        return True
    if tensor.dtype == BOOL:
        if not are_flags(p, tensor.end) or tensor.end - p != tensor.count:
            return False
        memcpy(to, p, tensor.count)
        return True
    for i in range(tensor.count):
        p = read_varint(p, tensor.end, &value)
        if p == NULL:
            return False
        # The lowest bytes: numbers out of range wrap.
        if layout.size == 8:
            memcpy(to + 8 * i, &value, 8)
        elif layout.size == 4:
            memcpy(to + 4 * i, &value, 4)
        elif layout.size == 2:
            memcpy(to + 2 * i, &value, 2)
        else:
            to[i] = <unsigned char>value
    return p == tensor.end


cdef bint are_flags(Text p, Text end) noexcept nogil:
    cdef bint flags = True
    while p != end:
        flags &= p[0] <= 1
        p += 1
    return flags


cdef object values_of(const Tensor *tensor):
    """The bytes of the array; None where there are not exactly as many values as the shape has."""
    cdef Layout layout = LAYOUTS[tensor.dtype]
    cdef int64_t length = tensor.count * layout.size
    if tensor.number == CONTENT or layout.is_fixed:
        if tensor.end - tensor.values != length:
            return None
    elif tensor.end - tensor.values < tensor.count:
        # A varint takes a byte at least: nothing is allocated for values that cannot be there.
        return None
    values = PyBytes_FromStringAndSize(NULL, length)
    return values if copy_values(tensor, <unsigned char *>PyBytes_AS_STRING(values)) else None


cdef object kind_of(const Tensor *tensor):
    cdef int i
    cdef tuple shape
    if tensor.rank == 1:
        shape = (tensor.shape[0],)
    elif tensor.rank == 2:
        shape = (tensor.shape[0], tensor.shape[1])
    else:
        shape = tuple([tensor.shape[i] for i in range(tensor.rank)])
    return PyUnicode_DecodeASCII(<const char *>tensor.alias, tensor.alias_length, NULL), tensor.dtype, shape


cdef bint has_same_alias(const Tensor *one, const Tensor *other) noexcept nogil:
    return one.alias_length == other.alias_length and memcmp(one.alias, other.alias, one.alias_length) == 0


cdef bint has_values_as_they_are(const Tensor *tensor) noexcept nogil:
    """Whether the bytes of the field are those of the array: exactly as many, of any value."""
    cdef Layout layout = LAYOUTS[tensor.dtype]
    return (
        (tensor.number == CONTENT or layout.is_fixed)
        and tensor.dtype != BOOL
        and tensor.end - tensor.values == tensor.count * layout.size
    )


def messages_of_rows(
    bytes head not None, bytes data not None, bytes tail not None, list starts not None, Py_ssize_t row, Py_ssize_t rows
):
    """Writes messages that are alike but for their rows.

    Args:
        head: What stands before the rows of each.
        data: The rows of all.
        tail: What stands behind them.
        starts: Where those of each begin in `data`, counted in rows.
        row: The bytes of a row, at least one.
        rows: How many of them each message has.

    Returns:
        The messages.

    Raises:
        ValueError: There are no such rows.
    """
    cdef Py_ssize_t head_size = PyBytes_GET_SIZE(head), tail_size = PyBytes_GET_SIZE(tail), start, size
    cdef Py_ssize_t there = PyBytes_GET_SIZE(data) // row if row > 0 else -1
    cdef char *to
    cdef list made = []
    cdef bytes message
    if rows < 0 or rows > there:
        raise ValueError("more rows than there are")
    size = rows * row
    for start in starts:
        if start < 0 or start > there - rows:
            raise ValueError("rows that are not there")
        message = PyBytes_FromStringAndSize(NULL, head_size + size + tail_size)
        to = PyBytes_AS_STRING(message)
        memcpy(to, PyBytes_AS_STRING(head), head_size)
        memcpy(to + head_size, PyBytes_AS_STRING(data) + start * row, size)
        memcpy(to + head_size + size, PyBytes_AS_STRING(tail), tail_size)
        made.append(message)
    return made


def place_of_values(bytes data not None):
    """Where the values of a PredictRequest stand, if any others may stand in their place.

    Args:
        data: A message for which `read_predict` returns something.

    Returns:
        Where they begin and where they end: all other messages that are the same before and behind are read the same
        way, but for their values, which are the bytes between. None where there are several inputs, or where their
        values are written otherwise than they are in memory.
    """
    cdef Text begin = <Text>PyBytes_AS_STRING(data)
    cdef Text end = begin + PyBytes_GET_SIZE(data)
    cdef Text p = begin
    cdef Text after
    cdef Tensor tensor
    cdef bint has_input = False
    cdef unsigned char tag
    while p != end:
        tag = p[0]
        p = read_length(p + 1, end, &after)
        if p == NULL:
            return None
        if tag == 0x12:
            if has_input or not read_entry(p, after, &tensor) or not has_values_as_they_are(&tensor):
                return None
            has_input = True
        p = after
    return (tensor.values - begin, tensor.end - begin) if has_input else None


cdef class Frame:
    """See `compiled.PlainFrame`."""

    cdef readonly bytes before
    cdef readonly bytes behind
    cdef Py_ssize_t length

    def __init__(self, bytes message not None, Py_ssize_t start, Py_ssize_t end):
        if not 0 <= start <= end <= PyBytes_GET_SIZE(message):
            raise ValueError("values that are not there")
        self.before = message[:start]
        self.behind = message[end:]
        self.length = PyBytes_GET_SIZE(message)

    def values(self, bytes message not None):
        """See `compiled.PlainFrame.values`."""
        cdef const char *text = PyBytes_AS_STRING(message)
        cdef Py_ssize_t head = PyBytes_GET_SIZE(self.before), tail = PyBytes_GET_SIZE(self.behind)
        if (
            PyBytes_GET_SIZE(message) != self.length
            or memcmp(text, PyBytes_AS_STRING(self.before), head)
            or memcmp(text + self.length - tail, PyBytes_AS_STRING(self.behind), tail)
        ):
            return None
        return PyBytes_FromStringAndSize(text + head, self.length - head - tail)


cdef class Target:
    """See `compiled.PlainTarget`."""

    cdef bytes before
    cdef bytes behind

    def __init__(self, bytes spec not None, tuple wanted not None):
        self.before = length_delimited(1, spec)
        self.behind = b"".join([length_delimited(3, name.encode()) for name in wanted])

    def is_named_by(self, bytes message not None):
        """See `compiled.PlainTarget.is_named_by`."""
        cdef Text p = <Text>PyBytes_AS_STRING(message)
        cdef Text end = p + PyBytes_GET_SIZE(message)
        cdef Text after
        cdef Py_ssize_t head = PyBytes_GET_SIZE(self.before), tail = PyBytes_GET_SIZE(self.behind)
        if end - p < head or memcmp(p, PyBytes_AS_STRING(self.before), head):
            return False
        p += head
        while p != end and p[0] == 0x12:
            p = read_length(p + 1, end, &after)
            if p == NULL:
                return False
            p = after
        return end - p == tail and not memcmp(p, PyBytes_AS_STRING(self.behind), tail)


def read_predict(bytes data not None):
    """Reads a PredictRequest.

    Args:
        data: The message.

    Returns:
        The bytes of its `model_spec`; its `output_filter`, a tuple; a tuple with the alias, the dtype's number and the
        shape of each input; and a tuple with their values, the bytes of the arrays. None for anything unusual.
    """
    cdef Text p = <Text>PyBytes_AS_STRING(data)
    cdef Text end = p + PyBytes_GET_SIZE(data)
    cdef Text after
    cdef Text spec = NULL
    cdef Py_ssize_t spec_length = 0
    cdef Tensor tensors[MAX_INPUTS]
    cdef int count = 0, i
    cdef unsigned char tag
    cdef list wanted = None
    while p != end:
        tag = p[0]
        p = read_length(p + 1, end, &after)
        if p == NULL:
            return None
        if tag == 0x12:
            if count == MAX_INPUTS or not read_entry(p, after, &tensors[count]):
                return None
            for i in range(count):
                if has_same_alias(&tensors[i], &tensors[count]):
                    return None
            count += 1
        elif tag == 0x0A:
            if spec != NULL:
                return None
            spec = p
            spec_length = after - p
        elif tag == 0x1A:
            if wanted is None:
                wanted = []
            try:
                wanted.append(PyUnicode_DecodeASCII(<const char *>p, after - p, NULL))
            except UnicodeDecodeError:
                return None
        else:
            return None
        p = after
    if spec == NULL or count == 0:
        return None
    try:
        if count == 1:
            values = values_of(&tensors[0])
            if values is None:
                return None
            return (
                PyBytes_FromStringAndSize(<const char *>spec, spec_length),
                () if wanted is None else tuple(wanted),
                (kind_of(&tensors[0]),),
                (values,),
            )
        kinds = []
        all_values = []
        for i in range(count):
            values = values_of(&tensors[i])
            if values is None:
                return None
            kinds.append(kind_of(&tensors[i]))
            all_values.append(values)
    except UnicodeDecodeError:
        return None
    return (
        PyBytes_FromStringAndSize(<const char *>spec, spec_length),
        () if wanted is None else tuple(wanted),
        tuple(kinds),
        tuple(all_values),
    )

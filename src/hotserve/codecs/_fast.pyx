# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""JSON numbers to arrays and back, in C: what `json_plain_body` and `json_numbers` do, in one pass each.

Nothing here words an error. A body that is wrong, or right in an unusual way, is left to `json_document` and
`json_request`; `PlainBody.read` and `PlainBody.store` then say so by None and False.

Threads: long loops run without the GIL. A `PlainBody` is filled before anybody else sees it and never changed.

The arithmetic of both directions is the same. A power of ten is a power of two times one of five, and the powers of
five are kept with 128 bits, cut off. A product with one of them is therefore known to lie in a small interval; where
both of its ends round to the same result, that is the result, and where they do not (exact ties, mostly) CPython's own
conversions decide, which are exact and know no locale.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.math cimport INFINITY, NAN, isfinite, isnan, signbit
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, UINT32_MAX, int8_t, int16_t, int32_t, int64_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    /* All processors of this kind have it; what is done without it gives the same. */
    #if defined(__x86_64__) && defined(__SSE2__) && !defined(HOTSERVE_NO_SSE2)
    #include <emmintrin.h>
    #define HOTSERVE_SSE2
    #endif

    typedef unsigned __int128 hotserve_u128;

    static inline int hotserve_leading_zeros(uint64_t x) { return __builtin_clzll(x); }
    static inline int hotserve_trailing_zeros(uint64_t x) { return __builtin_ctzll(x); }

    /* Whether any of eight bytes is a quotation mark, a backslash or a control character. */
    static inline int hotserve_ends_plain_text(const unsigned char *p) {
        const uint64_t ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;
        uint64_t x, quote, backslash;
        memcpy(&x, p, 8);
        quote = x ^ (ones * '"');
        backslash = x ^ (ones * '\\\\');
        return (((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & highs
            ? 1 : 0;
    }

    /* Eight bytes as a number whose lowest byte is the first of them. */
    static inline uint64_t hotserve_eight_bytes(const unsigned char *p) {
        uint64_t x;
        memcpy(&x, p, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
    #endif
        return x;
    }

    /* The number that eight digits make, the first one in the lowest byte; neighbours are joined, three times over. */
    static inline uint64_t hotserve_joined(uint64_t x) {
        x = x * 10 + (x >> 8);
        x = (x & 0x00FF00FF00FF00FFULL) * 100 + ((x >> 16) & 0x00FF00FF00FF00FFULL);
        x = (x & 0x0000FFFF0000FFFFULL) * 10000 + ((x >> 32) & 0x0000FFFF0000FFFFULL);
        return x & 0xFFFFFFFFULL;
    }

    /* The highest bit of each byte that is no digit, of eight bytes less '0' each. */
    static inline uint64_t hotserve_no_digits(uint64_t x) {
        const uint64_t each = 0x0101010101010101ULL;
        return (((x & each * 0x7F) + each * (0x80 - 10)) | x) & each * 0x80;
    }

    /* How many of the next eight bytes are digits, up to the first that is none, and the number that they make. */
    static inline int hotserve_next_digits(const unsigned char *p, uint64_t *number) {
        uint64_t x = hotserve_eight_bytes(p) ^ 0x0101010101010101ULL * '0';
        uint64_t others = hotserve_no_digits(x);
        int count = 8;
        if (others) {
            count = __builtin_ctzll(others) >> 3;
            /* Zeros in front of the digits; the first one is the lowest byte. Twice, as 64 would be too far. */
            x = x << (4 * (8 - count)) << (4 * (8 - count));
        }
        *number = hotserve_joined(x);
        return count;
    }

    /* Which of 32 bytes are no digits: bit i for byte i. */
    static inline uint32_t hotserve_others(const unsigned char *p) {
    #ifdef HOTSERVE_SSE2
        /* As signed bytes, digits are the lowest ten. */
        const __m128i lift = _mm_set1_epi8(128 - '0'), ten = _mm_set1_epi8(-128 + 10);
        __m128i low = _mm_add_epi8(_mm_loadu_si128((const __m128i *)p), lift);
        __m128i high = _mm_add_epi8(_mm_loadu_si128((const __m128i *)(p + 16)), lift);
        uint32_t first = (uint32_t)_mm_movemask_epi8(_mm_cmplt_epi8(low, ten));
        uint32_t second = (uint32_t)_mm_movemask_epi8(_mm_cmplt_epi8(high, ten));
        return ~(first | second << 16);
    #else
        uint64_t others;
        uint32_t found = 0;
        int i;
        for (i = 0; i < 4; i++) {
            others = hotserve_no_digits(hotserve_eight_bytes(p + 8 * i) ^ 0x0101010101010101ULL * '0');
            /* The product gathers the lowest bits of all bytes in the highest byte. */
            found |= (uint32_t)((others >> 7) * 0x0102040810204080ULL >> 56) << (8 * i);
        }
        return found;
    #endif
    }

    /* Marks which of `count` bytes are no digits, from the lowest bit of the first mark on, and 64 more behind them. */
    static inline void hotserve_mark_others(const unsigned char *p, size_t count, unsigned char *marks) {
        unsigned char rest[32] = {0};
        uint32_t others;
        size_t done = 0;
        for (;; done += 32) {
            if (count - done < 32) {
                memcpy(rest, p + done, count - done);
                others = hotserve_others(rest);
            } else {
                others = hotserve_others(p + done);
            }
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            others = __builtin_bswap32(others);
    #endif
            memcpy(marks + done / 8, &others, 4);
            if (count - done < 32) {
                memset(marks + done / 8 + 4, 255, 8);
                return;
            }
        }
    }

    /* The number that the last `count` bytes before `end` make, which are digits; 0 to 16. Reads 16 bytes. */
    static inline uint64_t hotserve_digits_before(const unsigned char *end, int count) {
    #ifdef HOTSERVE_SSE2
        /* What is taken from the bytes: all there can be, or what makes digits of them. */
        static const unsigned char less[32] = {
            255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0'};
        uint64_t both;
        __m128i x = _mm_subs_epu8(
            _mm_loadu_si128((const __m128i *)(end - 16)), _mm_loadu_si128((const __m128i *)(less + count)));
        /* a + 256 b, times 1 + 256 * 10: the higher byte is 10 a + b. */
        x = _mm_srli_epi16(_mm_mullo_epi16(x, _mm_set1_epi16(1 + 256 * 10)), 8);
        x = _mm_madd_epi16(x, _mm_set1_epi32(100 + (1 << 16)));
        x = _mm_madd_epi16(_mm_packs_epi32(x, x), _mm_set1_epi32(10000 + (1 << 16)));
        both = (uint64_t)_mm_cvtsi128_si64(x);
        return (both & 0xFFFFFFFFULL) * 100000000ULL + (both >> 32);
    #else
        uint64_t low = hotserve_eight_bytes(end - 8) ^ 0x0101010101010101ULL * '0';
        uint64_t high = hotserve_eight_bytes(end - 16) ^ 0x0101010101010101ULL * '0';
        int of_low = count < 8 ? count : 8, of_high = count - of_low;
        /* Zeros in place of what stands before the digits. Twice, as 64 would be too far. */
        low = low >> (4 * (8 - of_low)) >> (4 * (8 - of_low)) << (4 * (8 - of_low)) << (4 * (8 - of_low));
        high = high >> (4 * (8 - of_high)) >> (4 * (8 - of_high)) << (4 * (8 - of_high)) << (4 * (8 - of_high));
        return hotserve_joined(high) * 100000000ULL + hotserve_joined(low);
    #endif
    }

    /* The same for up to four bytes, of four. */
    static inline uint32_t hotserve_last_digits(const unsigned char *end, int count) {
        uint32_t x;
        memcpy(&x, end - 4, 4);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap32(x);
    #endif
        x = (uint32_t)((uint64_t)(x ^ 0x30303030U) >> (32 - 8 * count) << (32 - 8 * count));
        x = x * 10 + (x >> 8);
        return (x & 0xFFU) * 100 + ((x >> 16) & 0xFFU);
    }

    /* The eight digits of a number below 10 ** 8, each in a byte, the first one in the lowest. */
    static inline uint64_t hotserve_eight_digits(uint64_t number) {
        uint64_t x = number / 10000 | (number % 10000) << 32, first;
        /* Each part is parted in two; the factors are 1 / 100 and 1 / 10, near enough for parts that small. */
        first = (x * 5243 >> 19) & 0x0000007F0000007FULL;
        x = first | (x - 100 * first) << 16;
        first = (x * 103 >> 10) & 0x000F000F000F000FULL;
        return first | (x - 10 * first) << 8;
    }

    /* Writes such digits as text. */
    static inline void hotserve_put_digits(char *to, uint64_t digits) {
        digits |= 0x0101010101010101ULL * '0';
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        digits = __builtin_bswap64(digits);
    #endif
        memcpy(to, &digits, 8);
    }
    """
    ctypedef uint64_t u128 "hotserve_u128"
    int leading_zeros "hotserve_leading_zeros"(uint64_t x) nogil
    int trailing_zeros "hotserve_trailing_zeros"(uint64_t x) nogil
    int next_digits "hotserve_next_digits"(const unsigned char *p, uint64_t *number) nogil
    bint unlikely(bint condition) nogil
    uint64_t eight_bytes "hotserve_eight_bytes"(const unsigned char *p) nogil
    void mark_others "hotserve_mark_others"(const unsigned char *p, size_t count, unsigned char *marks) nogil
    uint64_t digits_before "hotserve_digits_before"(const unsigned char *end, int count) nogil
    uint64_t last_digits "hotserve_last_digits"(const unsigned char *end, int count) nogil
    uint64_t eight_digits "hotserve_eight_digits"(uint64_t number) nogil
    void put_digits "hotserve_put_digits"(char *to, uint64_t digits) nogil
    bint ends_plain_text "hotserve_ends_plain_text"(const unsigned char *p) nogil

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, PyObject *overflow) except? -1.0
    char *PyOS_double_to_string(double value, char format, int precision, int flags, int *kind) except NULL
    void PyMem_Free(void *memory)
    ctypedef struct PyObject

REVISION = 5  # to be raised, here and in compiled.py, with every change of what Python sees of this file

ctypedef const unsigned char *Text

cdef enum:
    MAX_RANK = 32  # what every numpy can have; deeper lists go the long way
    MAX_COLUMNS = 64
    MAX_ALIKE = 16  # columns of bodies that are compared with earlier ones
    SMALLEST_POWER = -342
    LARGEST_POWER = 342
    SMALLEST_EXPONENT = -1074  # doubles are up to 53 bits times a power of two from this
    LARGEST_EXPONENT = 971  # to this
    EXACT_FIVES = 27  # 5 ** 27 and smaller ones have less than 64 bits
    MOST_DOUBTS = 100  # numbers that CPython has to convert, in one body: it takes the GIL for each
    LARGE = 1 << 16  # bytes, or numbers: from here on other threads may run meanwhile
    MARKED = 1 << 11  # bytes of text that are looked at before the numbers in them are read
    MARKS = (1 << 8) + 12  # a bit for each of them, and for up to 96 more


# Powers of five, and of ten --------------------------------------------------------------------------------------------

cdef uint64_t TWO_TO_52 = 4503599627370496
cdef u128 FIVES[LARGEST_POWER - SMALLEST_POWER + 1]  # the first 128 bits of 5 ** q, the highest one set, cut off
cdef double SMALLEST_FLOAT = 2.0**-126  # of the normal ones
cdef double SMALLEST_DOUBLE = 2.0**-1022
cdef double DECADES[LARGEST_POWER - SMALLEST_POWER + 1]  # the doubles next to the powers of ten
cdef double TENS[23]  # those that a double holds exactly
cdef double SIGNED_TENS[32]  # the first 16 of them, and their negatives
cdef uint64_t POWERS[20]
cdef uint64_t FRACTIONS[20]  # the first 64 bits of 5 ** -q, the highest one set, cut off
cdef uint64_t FRACTION_EXPONENTS[20]  # what a double has in place of the exponent of the 64 bits above times 2 ** -q


cdef void fill_powers():
    for power in range(SMALLEST_POWER, LARGEST_POWER + 1):
        # Enough bits for 128 to be left of the smallest.
        number = 5**power << 128 if power >= 0 else (1 << 1024) // 5**-power
        number >>= number.bit_length() - 128
        DECADES[power - SMALLEST_POWER] = float(f"1e{power}")
        FIVES[power - SMALLEST_POWER] = (<u128><uint64_t>(number >> 64) << 64) | <uint64_t>(number & 0xFFFFFFFFFFFFFFFF)
    for power in range(23):
        TENS[power] = float(10**power)
    for power in range(16):
        SIGNED_TENS[power] = float(10**power)
        SIGNED_TENS[power + 16] = -float(10**power)
    for power in range(20):
        POWERS[power] = 10**power
        FRACTIONS[power] = <uint64_t>(FIVES[-power - SMALLEST_POWER] >> 64)
        # 63 of those bits are behind the point; the product has lost 64, and 10 more to be one of 53.
        FRACTION_EXPONENTS[power] = <uint64_t>(
            floor_log2_of_five(-power) - power - 63 + 64 + 10 - SMALLEST_EXPONENT
        ) << 52


fill_powers()


cdef inline int floor_log2_of_five(int power) noexcept nogil:
    """Where the highest bit of 5 ** power stands. The quotient is close enough to log2(5) for all powers up to 1000."""
    return (power * 152170) >> 16


cdef inline u128 times_power(uint64_t number, int power) noexcept nogil:
    """The first 128 bits of number * 5 ** power in 192; the true ones are these or up to two more."""
    cdef u128 five = FIVES[power - SMALLEST_POWER]
    cdef u128 low = (<u128>number * <uint64_t>five) >> 64
    return <u128>number * <uint64_t>(five >> 64) + low


cdef inline u128 rounded(u128 number, int bits) noexcept nogil:
    """`number` without its lowest bits, to nearest, ties to even; 1 <= bits <= 126, and number < 2 ** 127."""
    cdef u128 one = 1
    return (number + (one << (bits - 1)) - 1 + ((number >> bits) & 1)) >> bits


# Text to double --------------------------------------------------------------------------------------------------------

cdef bint nearest_double(uint64_t digits, int power, double *value) noexcept nogil:
    """The double next to digits * 10 ** power; False where that is not certain, or beyond the doubles."""
    cdef int zeros, exponent, surplus
    cdef u128 product, mantissa
    cdef uint64_t bits, high, low, half, rest
    if digits <= TWO_TO_52 * 2 and -22 <= power <= 22:
        # Both are exact doubles, so that one operation rounds once (Clinger, 1990).
        value[0] = <double>digits / TENS[-power] if power < 0 else <double>digits * TENS[power]
        return True
    if digits == 0 or power < SMALLEST_POWER:
        # 2 ** 64 * 10 ** -343 is less than half of the smallest double.
        value[0] = 0.0
        return True
    if power > LARGEST_POWER:
        return False
    zeros = leading_zeros(digits)
    # One bit of room for rounding up: the product lies between 2 ** 125 and 2 ** 127.
    product = times_power(digits << zeros, power) >> 1
    surplus = 74 if product >> 126 else 73
    # The product has lost 1 bit, and 64 in `times_power`; 127 of the power of five are behind its point.
    exponent = surplus + 65 - 127 + floor_log2_of_five(power) + power - zeros
    if exponent < SMALLEST_EXPONENT:
        # Not a normal double: fewer bits are left of it. The bits of the smallest normal one would be right, too.
        surplus += SMALLEST_EXPONENT - exponent
        if surplus > 126:
            value[0] = 0.0
            return surplus > 128
        mantissa = rounded(product, surplus)
        if mantissa != rounded(product + 2, surplus):
            return False
        bits = <uint64_t>mantissa
        memcpy(value, &bits, 8)
        return True
    # As `rounded` does it, in words of 64 bits. Only between half and two less do both ends of the interval differ.
    high = <uint64_t>(product >> 64)
    low = <uint64_t>product
    half = <uint64_t>1 << (surplus - 65)
    rest = high & (2 * half - 1)
    if (rest == half and low == 0) or (rest == half - 1 and low >= <uint64_t>0 - 2):
        return False
    bits = (high >> (surplus - 64)) + (rest >= half)
    if exponent > LARGEST_EXPONENT - 1:
        # Perhaps it is no double any more.
        return False
    # Its highest bit is added to the exponent, and what rounding up may have carried into the next one, too.
    bits += <uint64_t>(exponent - SMALLEST_EXPONENT) << 52
    memcpy(value, &bits, 8)
    return True


cdef inline bint nearest_fraction(uint64_t digits, int count, uint64_t *bits) noexcept nogil:
    """The double next to digits / 10 ** count, for 0 < digits and 0 < count < 20; False where that is not certain.

    As `nearest_double` does it, with half as many bits, and in doubt that much more often.
    """
    cdef int zeros = leading_zeros(digits), carried
    cdef uint64_t high = <uint64_t>((<u128>(digits << zeros) * FRACTIONS[count]) >> 64)
    # The true product is this one or up to one more. 53 bits of it are wanted, one to round by, and 9 or 10 are left:
    # neither none nor all of these may be set.
    if ((high + 1) & 511) <= 1:
        return False
    carried = <int>(high >> 63)
    bits[0] = (((high >> (9 + carried)) + 1) >> 1) + FRACTION_EXPONENTS[count] + (<uint64_t>(carried - zeros) << 52)
    return True


cdef bint exact_double(Text start, Text end, double *value) noexcept with gil:
    """What CPython makes of a number token; False if it makes nothing of it."""
    cdef char *behind = NULL
    try:
        value[0] = PyOS_string_to_double(<const char *>start, &behind, NULL)
    except ValueError:
        return False
    return behind == <const char *>end


# Columns: what the values of one input are read into -------------------------------------------------------------------

cdef enum Kind:
    NOTHING_YET
    INTEGERS
    DOUBLES
    FLAGS
    STRINGS  # two cells each: where the text begins, and twice its length, plus 1 for base64

cdef union Cell:
    int64_t integer
    uint64_t bits
    double number

cdef struct Column:
    Text name
    Py_ssize_t name_length
    Py_ssize_t rows  # how many rows of a list of objects have a value for this
    Kind kind
    int rank  # -1 until the first value is read
    Py_ssize_t shape[MAX_RANK]  # of one value; -1 until the first list at that depth ends
    Cell *cells
    Py_ssize_t count
    Py_ssize_t capacity
    int doubts


cdef bint make_room(Column *column, Py_ssize_t capacity) noexcept nogil:
    """Room for `capacity` cells, and for twice as many as there was; False where there is no memory."""
    cdef Cell *cells
    if capacity < column.capacity * 2:
        capacity = column.capacity * 2
    if capacity < 64:
        capacity = 64
    cells = <Cell *>PyMem_RawRealloc(column.cells, capacity * sizeof(Cell))
    if cells == NULL:
        return False
    column.cells = cells
    column.capacity = capacity
    return True


cdef inline Cell *next_cells(Column *column, Py_ssize_t wanted) noexcept nogil:
    """Room for `wanted` cells more; NULL where there is no memory."""
    cdef Cell *cells
    if column.count + wanted > column.capacity and not make_room(column, column.count + wanted):
        return NULL
    cells = column.cells + column.count
    column.count += wanted
    return cells


cdef void make_doubles(Column *column) noexcept nogil:
    """Turns the integers so far into doubles, rounding as a conversion from the text would."""
    cdef Py_ssize_t i
    for i in range(column.count):
        column.cells[i].number = <double>column.cells[i].integer
    column.kind = DOUBLES


cdef inline bint add_double(Column *column, double value) noexcept nogil:
    cdef Cell *cell
    if column.kind != DOUBLES:
        if column.kind == INTEGERS:
            make_doubles(column)
        elif column.kind == NOTHING_YET:
            column.kind = DOUBLES
        else:
            return False
    cell = next_cells(column, 1)
    if cell == NULL:
        return False
    cell.number = value
    return True


cdef inline bint add_integer(Column *column, int64_t value) noexcept nogil:
    cdef Cell *cell
    if column.kind == DOUBLES:
        return add_double(column, <double>value)
    if column.kind == NOTHING_YET:
        column.kind = INTEGERS
    elif column.kind != INTEGERS:
        return False
    cell = next_cells(column, 1)
    if cell == NULL:
        return False
    cell.integer = value
    return True


cdef bint add_flag(Column *column, bint value) noexcept nogil:
    cdef Cell *cell
    if column.kind == NOTHING_YET:
        column.kind = FLAGS
    elif column.kind != FLAGS:
        return False
    cell = next_cells(column, 1)
    if cell == NULL:
        return False
    cell.integer = value
    return True


cdef bint add_string(Column *column, Py_ssize_t start, Py_ssize_t length, bint base64) noexcept nogil:
    cdef Cell *cells
    if column.kind == NOTHING_YET:
        column.kind = STRINGS
    elif column.kind != STRINGS:
        return False
    cells = next_cells(column, 2)
    if cells == NULL:
        return False
    cells[0].integer = start
    cells[1].integer = 2 * length + base64
    return True


# Reading: each function takes where its token begins and gives where it ends, NULL for anything unusual ---------------
#
# A `bytes` object ends with a NUL, which no token here contains: no function reads beyond it.

cdef inline Text behind_space(Text p) noexcept nogil:
    while p[0] <= c" " and (p[0] == c" " or p[0] == c"\n" or p[0] == c"\t" or p[0] == c"\r"):
        p += 1
    return p


cdef inline bint is_digit(unsigned char byte) noexcept nogil:
    return c"0" <= byte <= c"9"


cdef Text read_text(Text p, Text end) noexcept nogil:
    """A string without escapes; any other bytes go."""
    if p[0] != c'"':
        return NULL
    p += 1
    while end - p >= 8 and not ends_plain_text(p):
        p += 8
    while p[0] != c'"':
        if p[0] < 0x20 or p[0] == c"\\":
            return NULL
        p += 1
    return p + 1


cdef inline Text read_digits(Text p, Text end, uint64_t *digits) noexcept nogil:
    """Appends to `digits` as many as follow. Beyond 19 of them it wraps, and is not used."""
    cdef uint64_t number
    cdef int count = 8
    while count == 8 and end - p >= 8:
        count = next_digits(p, &number)
        digits[0] = digits[0] * POWERS[count] + number
        p += count
    while is_digit(p[0]):
        digits[0] = digits[0] * 10 + (p[0] - c"0")
        p += 1
    return p


cdef Text read_number(Text start, Text end, Column *column) noexcept nogil:
    cdef Text p = start
    cdef Text whole
    cdef Text point = NULL
    cdef uint64_t digits = 0
    cdef Py_ssize_t length
    cdef int power = 0, exponent = 0, letters = 0
    cdef bint negative = p[0] == c"-", negative_exponent, integer, certain
    cdef double value
    p += negative
    whole = p
    if p[0] == c"0":
        p += 1
    else:
        if not is_digit(p[0]):
            return read_word(start, column)
        p = read_digits(p, end, &digits)
    length = p - whole
    if length > 300:
        return NULL
    integer = True
    if p[0] == c".":
        integer = False
        p += 1
        point = p
        p = read_digits(p, end, &digits)
        if p == point:
            return NULL
        length += p - point
        if length > 1 << 20:
            return NULL
        power = -<int>(p - point)
    if p[0] == c"e" or p[0] == c"E":
        integer = False
        p += 1
        negative_exponent = p[0] == c"-"
        if negative_exponent or p[0] == c"+":
            p += 1
        if not is_digit(p[0]):
            return NULL
        while is_digit(p[0]):
            exponent = exponent * 10 + (p[0] - c"0")
            letters += 1
            # What overflows by its exponent alone is refused, in words that are not ours.
            if letters > 6 or (exponent > 308 and not negative_exponent):
                return NULL
            p += 1
        power += -exponent if negative_exponent else exponent
    if integer and (length < 19 or (length == 19 and digits <= INT64_MAX)):
        return p if add_integer(column, -<int64_t>digits if negative else <int64_t>digits) else NULL
    if length > 19:
        certain = long_double(whole, p, power, &value)
    else:
        certain = nearest_double(digits, power, &value)
    if not certain:
        column.doubts += 1
        if column.doubts > MOST_DOUBTS or not exact_double(whole, p, &value):
            return NULL
    if not isfinite(value):
        return NULL
    return p if add_double(column, -value if negative else value) else NULL


cdef bint long_double(Text whole, Text end, int power, double *value) noexcept nogil:
    """A number of 20 or more digits: the first 19 that count are enough, unless one more would change the result."""
    cdef Text p = whole
    cdef uint64_t digits = 0
    cdef int taken = 0
    cdef bint cut_off = False
    cdef double above
    while p != end and (is_digit(p[0]) or p[0] == c"."):
        if p[0] != c".":
            if taken == 19:
                power += 1
                cut_off = cut_off or p[0] != c"0"
            else:
                digits = digits * 10 + (p[0] - c"0")
                taken += digits != 0
        p += 1
    if not nearest_double(digits, power, value):
        return False
    return not cut_off or (nearest_double(digits + 1, power, &above) and value[0] == above)


cdef Text read_word(Text p, Column *column) noexcept nogil:
    """true, false, NaN, Inf or Infinity, the last three perhaps with a minus."""
    cdef bint negative = p[0] == c"-"
    cdef int length
    if not negative:
        if p[0] == c"t":
            if p[1] == c"r" and p[2] == c"u" and p[3] == c"e" and add_flag(column, True):
                return p + 4
            return NULL
        if p[0] == c"f":
            if p[1] == c"a" and p[2] == c"l" and p[3] == c"s" and p[4] == c"e" and add_flag(column, False):
                return p + 5
            return NULL
    p += negative
    if p[0] == c"N":
        if p[1] == c"a" and p[2] == c"N" and add_double(column, NAN):
            return p + 3
        return NULL
    if p[0] != c"I" or p[1] != c"n" or p[2] != c"f":
        return NULL
    length = 3
    if p[3] == c"i":
        if p[4] != c"n" or p[5] != c"i" or p[6] != c"t" or p[7] != c"y":
            return NULL
        length = 8
    return p + length if add_double(column, -INFINITY if negative else INFINITY) else NULL


cdef Text after_base64_name(Text p) noexcept nogil:
    """Behind `{"b64":`, where an object begins so; else NULL."""
    if p[0] != c"{":
        return NULL
    p = behind_space(p + 1)
    if p[0] != c'"' or p[1] != c"b" or p[2] != c"6" or p[3] != c"4" or p[4] != c'"':
        return NULL
    p = behind_space(p + 5)
    return behind_space(p + 1) if p[0] == c":" else NULL


cdef Text read_leaf(Text p, Text origin, Text end, Column *column) noexcept nogil:
    cdef Text start
    if p[0] == c'"':
        start = p + 1
        p = read_text(p, end)
        return p if p != NULL and add_string(column, start - origin, p - 1 - start, False) else NULL
    if p[0] != c"{":
        return read_number(p, end, column)
    p = after_base64_name(p)
    if p == NULL:
        return NULL
    start = p + 1
    p = read_text(p, end)
    if p == NULL or not add_string(column, start - origin, p - 1 - start, True):
        return NULL
    p = behind_space(p)
    return p + 1 if p[0] == c"}" else NULL


cdef struct Marks:
    # Which bytes of a piece of the text are no digits, from the lowest bit of the first mark on.
    #
    # What is behind a number is known so before the number has been read: finding it there and then, from where the
    # one before ends, would take longer than all else that is done with a number.
    Text start
    Text last  # where a number may begin; of what is marked, 57 bytes are seen at once
    uint8_t bits[MARKS]


cdef inline uint64_t marks_from(Text p, const Marks *marks) noexcept nogil:
    """57 or more of the marks, that of `p` the lowest bit. Numbers of so many bytes are not usual."""
    cdef Py_ssize_t offset = p - marks.start
    return eight_bytes(marks.bits + (offset >> 3)) >> (offset & 7)


cdef inline Text read_usual_integer(Text p, const Marks *marks, Cell *cell) noexcept nogil:
    """Reads an integer of up to 16 digits; NULL for any other number.

    Here and in the next two functions, `p` is 32 or more bytes behind where the text begins, what comes right behind
    the number is not looked at, and `read_number` reads the same, in more steps.
    """
    cdef bint negative = p[0] == c"-"
    cdef uint64_t others = marks_from(p, marks) >> negative
    cdef uint64_t digits
    cdef int count
    if unlikely(others == 0):
        return NULL
    count = trailing_zeros(others)
    p += negative
    if unlikely(count == 0 or count > 16 or (p[0] == c"0" and count > 1)):
        return NULL
    p += count
    digits = digits_before(p, count)
    cell.integer = -<int64_t>digits if negative else <int64_t>digits
    return p


cdef inline Text read_usual_double(Text p, const Marks *marks, Cell *cell) noexcept nogil:
    """Reads a number with one digit before its point and 1 to 19 behind it; others by `read_less_usual_double`."""
    cdef bint negative = p[0] == c"-"
    cdef uint64_t others = marks_from(p, marks) >> negative
    cdef uint64_t digits
    cdef Text end
    cdef int count
    end = p + negative + 2
    if unlikely((others & 7) != 2 or (end - 1)[0] != c"." or others >> 3 == 0):
        return read_less_usual_double(p, marks, cell)
    count = trailing_zeros(others >> 2)
    digits = (end - 2)[0] - c"0"
    end += count
    if count < 15:
        # Both are exact doubles, so that one operation rounds once (Clinger, 1990).
        digits = digits * POWERS[count] + digits_before(end, count)
        cell.number = <double>digits / SIGNED_TENS[count + 16 * negative]
        return end
    if unlikely(count > 18 and (count > 19 or digits)):
        return NULL
    # The first 15 digits behind the point, and up to four more.
    digits = digits * POWERS[count] + digits_before(end - count + 15, 15) * POWERS[count - 15]
    digits += last_digits(end, count - 15)
    if unlikely(digits == 0 or not nearest_fraction(digits, count, &cell.bits)):
        return NULL
    cell.bits |= <uint64_t>negative << 63
    return end


cdef Text read_less_usual_double(Text p, const Marks *marks, Cell *cell) noexcept nogil:
    """Reads an integer as a double, or a number of up to 15 digits with a point; NULL for any other number."""
    cdef bint negative = p[0] == c"-"
    cdef uint64_t others = marks_from(p, marks) >> negative
    cdef uint64_t digits
    cdef int whole, count
    p += negative
    if others == 0:
        return NULL
    whole = trailing_zeros(others)
    if whole == 0 or whole > 15 or (p[0] == c"0" and whole > 1):
        return NULL
    p += whole
    digits = digits_before(p, whole)
    if p[0] != c".":
        cell.number = <double>(-<int64_t>digits if negative else <int64_t>digits)
        return p
    others &= others - 1
    if others == 0:
        return NULL
    count = trailing_zeros(others) - whole - 1
    if count == 0 or whole + count > 15:
        return NULL
    p += 1 + count
    digits = digits * POWERS[count] + digits_before(p, count)
    cell.number = <double>digits / SIGNED_TENS[count + 16 * negative]
    return p


cdef inline Text read_usual_list(
    Text p, Text origin, Text end, Marks *marks, Column *column, int depth, Py_ssize_t *sizes, bint *behind,
    bint integers
) noexcept nogil:
    """See `read_usual_numbers`."""
    cdef Cell *cell = column.cells + column.count
    cdef Cell *limit = column.cells + column.capacity
    cdef Text next
    cdef Py_ssize_t size = sizes[depth - 1], full = 0
    if depth > 1:
        full = column.shape[depth - 1]
    while True:
        if unlikely(p > marks.last):
            marks.start = p
            if end - p > MARKED:
                marks.last = p + MARKED - 57
                mark_others(p, MARKED, marks.bits)
            else:
                marks.last = end
                mark_others(p, end - p, marks.bits)
        if unlikely(cell == limit):
            column.count = cell - column.cells
            # As many as there will be if the others take as much text as those so far.
            if not make_room(column, <Py_ssize_t>(<double>column.count * 1.02 * (end - origin) / (p - origin)) + 1):
                break
            cell = column.cells + column.count
            limit = column.cells + column.capacity
        next = read_usual_integer(p, marks, cell) if integers else read_usual_double(p, marks, cell)
        if unlikely(next == NULL):
            break
        if next[0] == c",":
            p = behind_space(next + 1)
            size += 1
        elif next[0] != c"]":
            break
        elif size + 1 == full and next[1] == c"," and next[2] == c" " and next[3] == c"[":
            p = next + 4
            size = 0
            sizes[depth - 2] += 1
        elif size + 1 == full and next[1] == c"," and next[2] == c"[":
            p = next + 3
            size = 0
            sizes[depth - 2] += 1
        else:
            behind[0] = True
            p = next
            cell += 1
            break
        cell += 1
    sizes[depth - 1] = size
    column.count = cell - column.cells
    return p


cdef Text read_usual_numbers(
    Text p, Text origin, Text end, Marks *marks, Column *column, int depth, Py_ssize_t *sizes, bint *behind
) noexcept nogil:
    """Reads the numbers of innermost lists as long as they, and what stands between them, are usual.

    Args:
        p: Where a number may begin, 32 or more bytes behind `origin`.
        origin: Where the text begins.
        end: Where it ends.
        marks: Of a part of the text that begins where `p` is or before.
        column: It has integers or doubles already.
        depth: How many lists are open; at least one.
        sizes: How many values have been read of each.
        behind: Set to whether it stops behind a number, which is not in `sizes` yet.

    Returns:
        There; or where the first value stands that has not been read, or something else in its place.
    """
    behind[0] = False
    if column.kind == INTEGERS:
        return read_usual_list(p, origin, end, marks, column, depth, sizes, behind, True)
    return read_usual_list(p, origin, end, marks, column, depth, sizes, behind, False)


cdef Text read_value(Text p, Text origin, Text end, Column *column) noexcept nogil:
    """One value, its lists nested as those of the column's first value."""
    cdef Py_ssize_t sizes[MAX_RANK]
    cdef Marks marks
    cdef int depth = 0
    cdef bint behind
    marks.start = marks.last = NULL
    while True:
        p = behind_space(p)
        if p[0] == c"[":
            if depth == MAX_RANK:
                return NULL
            sizes[depth] = 0
            depth += 1
            p += 1
            continue
        if depth != column.rank:
            if column.rank >= 0:
                return NULL
            column.rank = depth
        behind = False
        if depth and (column.kind == DOUBLES or column.kind == INTEGERS) and p - origin >= 32:
            p = read_usual_numbers(p, origin, end, &marks, column, depth, sizes, &behind)
        if not behind:
            p = read_leaf(behind_space(p), origin, end, column)
            if p == NULL:
                return NULL
        while True:
            if depth == 0:
                return p
            sizes[depth - 1] += 1
            p = behind_space(p)
            if p[0] == c",":
                p += 1
                break
            if p[0] != c"]":
                return NULL
            p += 1
            depth -= 1
            if column.shape[depth] != sizes[depth]:
                if column.shape[depth] >= 0:
                    return NULL
                column.shape[depth] = sizes[depth]


cdef struct Body:
    Text origin
    Text end
    Text signature_name
    Py_ssize_t signature_name_length
    bint row_format
    bint named
    Py_ssize_t rows  # of a list of objects
    Column *columns
    int count
    int capacity


cdef Column *new_column(Body *body, Text name, Py_ssize_t name_length) noexcept nogil:
    cdef Column *columns = body.columns
    cdef Column *column
    cdef int depth
    if body.count == MAX_COLUMNS:
        return NULL
    if body.count == body.capacity:
        columns = <Column *>PyMem_RawRealloc(columns, (body.capacity * 4 + 1) * sizeof(Column))
        if columns == NULL:
            return NULL
        body.columns = columns
        body.capacity = body.capacity * 4 + 1
    column = columns + body.count
    body.count += 1
    column.name = name
    column.name_length = name_length
    column.rows = 0
    column.kind = NOTHING_YET
    column.rank = -1
    for depth in range(MAX_RANK):
        column.shape[depth] = -1
    column.cells = NULL
    column.count = 0
    column.capacity = 0
    column.doubts = 0
    return column


cdef Column *find_column(Body *body, int expected, Text name, Py_ssize_t name_length) noexcept nogil:
    cdef Column *column
    cdef int i
    for i in range(body.count):
        # Most rows name their values in the order of the first one.
        column = body.columns + (expected + i) % body.count
        if column.name_length == name_length and memcmp(column.name, name, name_length) == 0:
            return column
    return NULL


cdef Text read_members(Text p, Body *body, bint first) noexcept nogil:
    """An object of values by name; unless it is the first one, with exactly the names of that."""
    cdef Column *column
    cdef Text name
    cdef Py_ssize_t name_length
    cdef int members = 0
    if p[0] != c"{":
        return NULL
    while True:
        p = behind_space(p + 1)
        name = p + 1
        p = read_text(p, body.end)
        if p == NULL:
            return NULL
        name_length = p - 1 - name
        column = find_column(body, members, name, name_length)
        if first:
            column = new_column(body, name, name_length) if column == NULL else NULL
        if column == NULL or column.rows != body.rows:
            return NULL
        p = behind_space(p)
        if p[0] != c":":
            return NULL
        p = read_value(p + 1, body.origin, body.end, column)
        if p == NULL:
            return NULL
        column.rows += 1
        members += 1
        p = behind_space(p)
        if p[0] == c"}":
            return p + 1 if members == body.count else NULL
        if p[0] != c",":
            return NULL


cdef Text read_plain_value(Text p, Body *body) noexcept nogil:
    cdef Column *column = new_column(body, NULL, 0)
    if column == NULL:
        return NULL
    return read_value(p, body.origin, body.end, column)


cdef Text read_instances(Text p, Body *body) noexcept nogil:
    cdef Text row
    if p[0] != c"[":
        return NULL
    row = behind_space(p + 1)
    if row[0] != c"{" or after_base64_name(row) != NULL:
        return read_plain_value(p, body)
    body.named = True
    p = row
    while True:
        p = read_members(p, body, body.rows == 0)
        if p == NULL:
            return NULL
        body.rows += 1
        p = behind_space(p)
        if p[0] == c"]":
            return p + 1
        if p[0] != c",":
            return NULL
        p = behind_space(p + 1)


cdef Text read_inputs(Text p, Body *body) noexcept nogil:
    if p[0] != c"{" or after_base64_name(p) != NULL:
        return read_plain_value(p, body)
    body.named = True
    return read_members(p, body, True)


cdef inline bint is_name(Text name, Py_ssize_t length, const char *expected, Py_ssize_t expected_length) noexcept nogil:
    return length == expected_length and memcmp(name, expected, length) == 0


cdef bint read_body(Body *body) noexcept nogil:
    """The whole document; False for anything unusual. What follows the object is ignored."""
    cdef Text p = body.origin
    cdef Text name
    cdef Py_ssize_t length
    if p[0] == 0xEF and p[1] == 0xBB and p[2] == 0xBF:
        p += 3
    p = behind_space(p)
    if p[0] != c"{":
        return False
    while True:
        p = behind_space(p + 1)
        name = p + 1
        p = read_text(p, body.end)
        if p == NULL:
            return False
        length = p - 1 - name
        p = behind_space(p)
        if p[0] != c":":
            return False
        p = behind_space(p + 1)
        if is_name(name, length, b"signature_name", 14):
            if body.signature_name != NULL:
                return False
            body.signature_name = p + 1
            p = read_text(p, body.end)
            if p == NULL:
                return False
            body.signature_name_length = p - 1 - body.signature_name
        elif body.count:
            return False
        elif is_name(name, length, b"instances", 9):
            body.row_format = True
            p = read_instances(p, body)
        elif is_name(name, length, b"inputs", 6):
            p = read_inputs(p, body)
        else:
            return False
        if p == NULL:
            return False
        p = behind_space(p)
        if p[0] == c"}":
            return body.count > 0
        if p[0] != c",":
            return False


# Columns to arrays -----------------------------------------------------------------------------------------------------

cdef bint all_within(Column *column, int64_t lowest, int64_t highest) noexcept nogil:
    cdef Py_ssize_t i
    cdef bint within = True
    for i in range(column.count):
        within &= lowest <= column.cells[i].integer <= highest
    return within


cdef bint fill(Column *column, char *data, char code) noexcept nogil:
    """The values of a column as `code`, as the `struct` module names it; False if they do not go into that."""
    cdef Py_ssize_t i
    cdef Cell *cells = column.cells
    cdef bint integers = column.kind == INTEGERS
    if code == c"?":
        if column.kind != FLAGS:
            return False
        for i in range(column.count):
            (<uint8_t *>data)[i] = cells[i].integer != 0
        return True
    if not integers and column.kind != DOUBLES:
        return False
    if code == c"f":
        # By way of a double, as the original: an integer is rounded twice. Too large becomes infinite.
        if integers:
            for i in range(column.count):
                (<float *>data)[i] = <float><double>cells[i].integer
        else:
            for i in range(column.count):
                (<float *>data)[i] = <float>cells[i].number
        return True
    if code == c"d":
        if integers:
            for i in range(column.count):
                (<double *>data)[i] = <double>cells[i].integer
        elif column.count:
            memcpy(data, cells, column.count * sizeof(double))
        return True
    if not integers:
        return False
    if code == c"q":
        if column.count:
            memcpy(data, cells, column.count * sizeof(int64_t))
        return True
    if code == c"Q":
        if not all_within(column, 0, INT64_MAX):
            return False
        memcpy(data, cells, column.count * sizeof(int64_t))
        return True
    if code == c"I":
        if not all_within(column, 0, UINT32_MAX):
            return False
        for i in range(column.count):
            (<uint32_t *>data)[i] = <uint32_t>cells[i].integer
        return True
    if code == c"H":
        if not all_within(column, 0, 65535):
            return False
        for i in range(column.count):
            (<uint16_t *>data)[i] = <uint16_t>cells[i].integer
        return True
    # The original reads the small ones as int32 and cuts them off.
    if not all_within(column, INT32_MIN, INT32_MAX):
        return False
    if code == c"i":
        for i in range(column.count):
            (<int32_t *>data)[i] = <int32_t>cells[i].integer
    elif code == c"h":
        for i in range(column.count):
            (<uint16_t *>data)[i] = <uint16_t>cells[i].integer
    elif code == c"b" or code == c"B":
        for i in range(column.count):
            (<uint8_t *>data)[i] = <uint8_t>cells[i].integer
    else:
        return False
    return True


cdef class Values:
    """The values of a predict body, by column: one for each input that it names, or the only one.

    Attributes:
        signature_name: The signature that the body names; empty for the default one.
        row_format: Whether they stand under `instances`.
        names: The columns' names; None for one that has none.
        shapes: Their shapes, the rows included.
    """

    cdef Body body
    cdef bytes data
    cdef readonly str signature_name
    cdef readonly bint row_format
    cdef readonly tuple names
    cdef readonly tuple shapes

    @property
    def key(self):
        """All of the body but its values."""
        return self.signature_name, self.row_format, self.names, self.shapes

    def __dealloc__(self):
        free_body(&self.body)

    cdef tuple shape(self, Column *column):
        cdef int depth
        shape = tuple([column.shape[depth] for depth in range(column.rank)])
        return (self.body.rows, *shape) if self.body.row_format and self.body.named else shape

    def store(self, int index, array, str code):
        """Writes the numbers or flags of a column into an array.

        Args:
            index: Which column.
            array: Of its shape, contiguous, and of the type that `code` says.
            code: One letter of the `struct` module: f d q Q i I h H b B ?

        Returns:
            False where a value is of another kind or out of range; the array then holds anything.
        """
        cdef Py_buffer view
        cdef Column *column
        cdef bint stored
        cdef char letter = ord(code)
        if not 0 <= index < self.body.count:
            raise IndexError(index)
        column = self.body.columns + index
        if column.kind == STRINGS:
            return False
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        try:
            if view.len != column.count * size_of(letter) or view.itemsize != size_of(letter):
                raise ValueError(f"expected {column.count} elements of {code}")
            if column.count < LARGE:
                stored = fill(column, <char *>view.buf, letter)
            else:
                with nogil:
                    stored = fill(column, <char *>view.buf, letter)
        finally:
            PyBuffer_Release(&view)
        return stored

    def content(self, int index, str code):
        """What `store` writes; None in place of False."""
        cdef Column *column
        cdef char letter = ord(code)
        cdef bint stored
        cdef char *data
        if not 0 <= index < self.body.count:
            raise IndexError(index)
        column = self.body.columns + index
        if column.kind == STRINGS:
            return None
        content = PyBytes_FromStringAndSize(NULL, column.count * size_of(letter))
        data = PyBytes_AS_STRING(content)
        if column.count < LARGE:
            stored = fill(column, data, letter)
        else:
            with nogil:
                stored = fill(column, data, letter)
        return content if stored else None

    def strings(self, int index, Py_ssize_t first=0, Py_ssize_t most=4611686018427387903):
        """Strings of a column, each with whether it is base64; None where they are no strings.

        Args:
            index: Which column.
            first: The first of them, from 0.
            most: How many at most.
        """
        cdef Column *column
        cdef Py_ssize_t i, start, length
        if not 0 <= index < self.body.count:
            raise IndexError(index)
        column = self.body.columns + index
        if column.kind != STRINGS:
            return None
        found = []
        if first < 0 or most < 0:
            raise ValueError("expected numbers of 0 or more")
        for i in range(2 * min(first, column.count), min(column.count, 2 * (first + min(most, column.count))), 2):
            start = column.cells[i].integer
            length = column.cells[i + 1].integer >> 1
            found.append((self.data[start : start + length], (column.cells[i + 1].integer & 1) != 0))
        return found


cdef Py_ssize_t size_of(char code) noexcept nogil:
    if code == c"d" or code == c"q" or code == c"Q":
        return 8
    if code == c"f" or code == c"i" or code == c"I":
        return 4
    return 2 if code == c"h" or code == c"H" else 1


cdef bint read_text_of(bytes data, Body *body) noexcept:
    """Reads a predict body into what is empty yet; False where it is not of one of the usual forms."""
    memset(body, 0, sizeof(Body))
    body.origin = <Text>PyBytes_AS_STRING(data)
    body.end = body.origin + PyBytes_GET_SIZE(data)
    if PyBytes_GET_SIZE(data) < LARGE:
        return read_body(body)
    with nogil:
        return read_body(body)


cdef void free_body(Body *body) noexcept:
    cdef int i
    for i in range(body.count):
        PyMem_RawFree(body.columns[i].cells)
    PyMem_RawFree(body.columns)


cdef Values values_of(bytes data, Body *body):
    """The values of a body that has been read, which are theirs from now on; None where it has a name that is no UTF-8."""
    cdef Values values = Values.__new__(Values)
    cdef int i
    values.data = data
    values.body = body[0]
    body.columns = NULL
    body.count = 0
    body = &values.body
    values.row_format = body.row_format
    try:
        values.signature_name = body.signature_name[: body.signature_name_length].decode("utf-8") if (
            body.signature_name != NULL
        ) else ""
        values.names = tuple(
            [
                body.columns[i].name[: body.columns[i].name_length].decode("utf-8") if body.named else None
                for i in range(body.count)
            ]
        )
    except UnicodeDecodeError:
        return None
    values.shapes = tuple([values.shape(body.columns + i) for i in range(body.count)])
    return values


def read_values(bytes data not None):
    """Reads a predict body.

    Args:
        data: The body. Read without the GIL from 64 KiB on.

    Returns:
        Its `Values`; None where it is not of one of the usual forms, be it right or wrong.
    """
    cdef Body body
    try:
        return values_of(data, &body) if read_text_of(data, &body) else None
    finally:
        free_body(&body)


cdef inline bint is_text(Text text, Py_ssize_t length, bytes expected) noexcept:
    return length == PyBytes_GET_SIZE(expected) and (
        length == 0 or memcmp(text, PyBytes_AS_STRING(expected), length) == 0
    )


cdef class Pattern:
    """What bodies have in common that are alike but for their values: what `Values.key` says of one of them."""

    cdef bytes signature_name
    cdef bint row_format
    cdef bint named
    cdef tuple names  # as bytes
    cdef int count
    cdef int ranks[MAX_ALIKE]
    cdef Py_ssize_t sizes[MAX_ALIKE][MAX_RANK + 1]
    cdef int wanted
    cdef int order[MAX_ALIKE]
    cdef char letters[MAX_ALIKE]

    def __init__(self, tuple key not None, tuple order not None):
        """Makes a pattern.

        Args:
            key: As of `Values`.
            order: Which columns are wanted, in which order; of each its index, and its letter as of `Values.content`.

        Raises:
            ValueError: There are more than 16 columns, or these are not among them.
        """
        cdef int i, depth
        signature_name, row_format, names, shapes = key
        self.count = <int>len(names)
        self.wanted = <int>len(order)
        if not 0 < self.count <= MAX_ALIKE or len(shapes) != self.count or self.wanted > MAX_ALIKE:
            raise ValueError(f"expected 1 to {MAX_ALIKE} columns, not {self.count}")
        self.signature_name = signature_name.encode()
        self.row_format = row_format
        self.named = names[0] is not None
        self.names = tuple([b"" if name is None else name.encode() for name in names])
        for i in range(self.count):
            shape = shapes[i]
            if len(shape) > MAX_RANK + 1:
                raise ValueError(f"expected up to {MAX_RANK + 1} dimensions, not {len(shape)}")
            self.ranks[i] = <int>len(shape)
            for depth in range(self.ranks[i]):
                self.sizes[i][depth] = shape[depth]
        for i in range(self.wanted):
            index, letter = order[i]
            if not 0 <= index < self.count:
                raise ValueError(f"expected a column below {self.count}, not {index}")
            self.order[i] = index
            self.letters[i] = ord(letter)

    cdef bint fits(self, Body *body):
        cdef Column *column
        cdef int i, depth, skipped
        if (
            body.row_format != self.row_format
            or body.named != self.named
            or body.count != self.count
            or not is_text(body.signature_name, body.signature_name_length, self.signature_name)
        ):
            return False
        skipped = body.row_format and body.named
        for i in range(self.count):
            column = body.columns + i
            if (
                column.rank + skipped != self.ranks[i]
                or (skipped and body.rows != self.sizes[i][0])
                or not is_text(column.name, column.name_length, self.names[i])
            ):
                return False
            for depth in range(column.rank):
                if column.shape[depth] != self.sizes[i][depth + skipped]:
                    return False
        return True

    def read(self, bytes data not None):
        """Reads a predict body.

        Args:
            data: The body. Read without the GIL from 64 KiB on.

        Returns:
            What `Values.content` says of the columns that are wanted, a tuple; its `Values` where it is not like the
            others, or `content` would say None; None where `read_values` would.
        """
        cdef Body body
        cdef Column *column
        cdef int i
        cdef bint fit
        cdef list contents
        try:
            if not read_text_of(data, &body):
                return None
            fit = self.fits(&body)
            contents = []
            for i in range(self.wanted if fit else 0):
                column = body.columns + self.order[i]
                content = PyBytes_FromStringAndSize(NULL, column.count * size_of(self.letters[i]))
                fit = column.kind != STRINGS and fill(column, PyBytes_AS_STRING(content), self.letters[i])
                if not fit:
                    break
                contents.append(content)
            return tuple(contents) if fit else values_of(data, &body)
        finally:
            free_body(&body)


# Doubles to text -------------------------------------------------------------------------------------------------------

cdef enum:
    LONGEST = 40  # bytes of one element while it is written: "-2.2250738585072014e-308" has 24
    TEN_TO_8 = 100000000
    TOGETHER = 64  # elements, for which room is made at once


cdef inline bint quick_digits(double value, int count, uint64_t *digits, int *exponent) noexcept nogil:
    """What `decimal_digits` says of a positive number, by a product half as long: in doubt more often; 9 or 17 digits."""
    cdef uint64_t bits, high, half, rest
    cdef int binary, zeros, power, surplus
    memcpy(&bits, &value, 8)
    binary = <int>(bits >> 52) - 1075
    if binary == -1075:
        return False
    bits = (bits << 11) | (1ULL << 63)
    binary -= 11
    # value = bits * 2 ** binary. The quotient is log10(2), a little low; so the power of ten may be the next one.
    exponent[0] = ((binary + 63) * 78913) >> 18
    exponent[0] += value >= DECADES[exponent[0] + 1 - SMALLEST_POWER]
    power = count - 1 - exponent[0]
    if power < SMALLEST_POWER or power > LARGEST_POWER:
        return False
    # The true product is this one or less than two more.
    high = <uint64_t>((<u128>bits * <uint64_t>(FIVES[power - SMALLEST_POWER] >> 64)) >> 64)
    surplus = -(binary + 64 - 63 + floor_log2_of_five(power) + power)
    half = 1ULL << (surplus - 1)
    rest = high & (2 * half - 1)
    if rest - (half - 1) <= 1:
        return False
    digits[0] = (high >> surplus) + (rest >= half)
    # A power of ten that is no double may have been taken for another one, and rounding may have made a digit more.
    return POWERS[count - 1] <= digits[0] < POWERS[count]


cdef inline bint decimal_digits(double value, int count, uint64_t *digits, int *exponent) noexcept nogil:
    """The first `count` digits of a positive number, rounded, and the power of ten of the first; False if uncertain."""
    cdef uint64_t bits
    cdef int binary, zeros, power, attempt, surplus
    cdef u128 product, above, low
    memcpy(&bits, &value, 8)
    binary = <int>(bits >> 52)
    bits &= (1ULL << 52) - 1
    if binary:
        bits |= 1ULL << 52
        binary -= 1
    zeros = leading_zeros(bits)
    bits <<= zeros
    binary -= 1074 + zeros
    # value = bits * 2 ** binary, with the highest of 64 bits set. The quotient is log10(2), a little low.
    exponent[0] = ((binary + 63) * 78913) >> 18
    for attempt in range(2):
        power = count - 1 - exponent[0]
        if power < SMALLEST_POWER or power > LARGEST_POWER:
            return False
        product = times_power(bits, power)
        # Small powers of five are exact: no interval is needed there, and ties can be told.
        above = product if 0 <= power <= EXACT_FIVES and not product & 1 else product + 4
        product >>= 1
        above >>= 1
        surplus = -(binary + 65 - 127 + floor_log2_of_five(power) + power)
        if surplus < 1 or surplus > 126:
            return False
        low = rounded(product, surplus)
        if low != rounded(above, surplus):
            return False
        digits[0] = <uint64_t>low
        if digits[0] < POWERS[count]:
            return digits[0] >= POWERS[count - 1]
        # One digit too many: the exponent was one too low, or rounding has made it so.
        exponent[0] += 1
    return False


cdef bint six_digits_suffice(uint64_t digits, int power, double value, bint as_float) noexcept nogil:
    """Whether digits * 10 ** power, a number of six digits, is read as `value`."""
    cdef double back
    if not nearest_double(digits, power, &back):
        back = reread(value)
    return <float>back == <float>value if as_float else back == value


cdef double reread(double value) noexcept with gil:
    """`%.6g` of a number, and that as a number again, by CPython's conversions."""
    return float("%.6g" % value)


cdef inline int write_decimal(char *to, uint64_t digits, int count, int exponent) noexcept nogil:
    """A number as `%g` lays it out, and `.0` behind what would be an integer; the length.

    Args:
        to: Where to; up to `LONGEST` - 1 bytes are written.
        digits: As many as `count` says.
        count: 6, 9 or 17.
        exponent: The power of ten of the first digit.
    """
    cdef char text[40]
    cdef int length, kept, precision = count
    cdef char first
    cdef uint64_t second, third = 0
    if count == 17:
        third = eight_digits(digits % TEN_TO_8)
        digits //= TEN_TO_8
        count = 9
    elif count == 6:
        digits *= 1000
    first = <char>(c"0" + digits // TEN_TO_8)
    second = eight_digits(digits % TEN_TO_8)
    # Zeros at the end go.
    if third:
        kept = 17 - (leading_zeros(third) >> 3)
    elif second:
        kept = 9 - (leading_zeros(second) >> 3)
    else:
        kept = 1
    if -4 <= exponent <= 0:
        memcpy(to, b"0.000000", 8)
        to -= exponent
        # One digit is before the point, or all of them are behind it.
        to[0 if exponent == 0 else 1] = first
        put_digits(to + 2, second)
        put_digits(to + 10, third)
        if exponent == 0 and kept == 1:
            kept = 2
        return 1 - exponent + kept
    if 0 < exponent < precision:
        memset(text, c"0", sizeof(text))
        text[0] = first
        put_digits(text + 1, second)
        put_digits(text + 9, third)
        memcpy(to, text, 17)
        to[exponent + 1] = c"."
        memcpy(to + exponent + 2, text + exponent + 1, 17)
        return 1 + (kept if kept > exponent + 2 else exponent + 2)
    to[0] = first
    to[1] = c"."
    put_digits(to + 2, second)
    put_digits(to + 10, third)
    length = kept + 1 if kept > 1 else 1
    to[length] = c"e"
    to[length + 1] = c"-" if exponent < 0 else c"+"
    length += 2
    if exponent < 0:
        exponent = -exponent
    if exponent >= 100:
        to[length] = <char>(c"0" + exponent // 100)
        length += 1
        exponent %= 100
    to[length] = <char>(c"0" + exponent // 10)
    to[length + 1] = <char>(c"0" + exponent % 10)
    return length + 2


cdef int write_exactly(char *to, double value, int count) noexcept with gil:
    """A number by CPython's `%g`, and `.0` behind what would be an integer; the length, -1 where there is no memory."""
    cdef char *text
    cdef int length = 0
    cdef bint marked = False
    try:
        text = PyOS_double_to_string(value, c"g", count, 0, NULL)
    except MemoryError:
        return -1
    while text[length]:
        marked = marked or text[length] == c"." or text[length] == c"e"
        to[length] = text[length]
        length += 1
    PyMem_Free(text)
    if not marked:
        to[length] = c"."
        to[length + 1] = c"0"
        length += 2
    return length


cdef int write_special(char *to, double value) noexcept nogil:
    """Zero, infinity, or no number at all; the length."""
    cdef int sign
    if isnan(value):
        memcpy(to, b"NaN", 3)
        return 3
    sign = signbit(value) != 0
    to[0] = c"-"
    if value == 0:
        memcpy(to + sign, b"0.0", 3)
        return sign + 3
    memcpy(to + sign, b"Infinity", 8)
    return sign + 8


cdef inline int write_number(char *to, double value, int count) noexcept nogil:
    """One number, as `json_numbers` says, with up to `count` digits (9 means a float); the length, -1 for no memory."""
    cdef uint64_t digits, unit, rest, six, distance
    cdef int exponent, sign = 0
    cdef bint as_float = count == 9
    cdef double back
    if not isfinite(value) or value == 0:
        return write_special(to, value)
    to[0] = c"-"
    if value < 0:
        to += 1
        sign = 1
        value = -value
    if count != 6 and (quick_digits(value, count, &digits, &exponent) or decimal_digits(value, count, &digits, &exponent)):
        # As many digits as are ever needed tell without another conversion, most of the time, whether six are enough.
        unit = 1000 if count == 9 else 100000000000
        rest = digits % unit
        if 2 * rest != unit:
            six = digits // unit + (2 * rest > unit)
            distance = rest if 2 * rest < unit else unit - rest
            # What reads as the same number is less than half of its last bit away; one more for each rounding.
            if distance > (digits >> (24 if as_float else 53)) + 2 and value >= (
                SMALLEST_FLOAT if as_float else SMALLEST_DOUBLE
            ):
                return sign + write_decimal(to, digits, count, exponent)
            if six == 1000000:
                if distance == 0 or six_digits_suffice(100000, exponent - 4, value, as_float):
                    return sign + write_decimal(to, 100000, 6, exponent + 1)
            elif distance == 0 or six_digits_suffice(six, exponent - 5, value, as_float):
                return sign + write_decimal(to, six, 6, exponent)
            return sign + write_decimal(to, digits, count, exponent)
    if decimal_digits(value, 6, &digits, &exponent):
        if count == 6 or six_digits_suffice(digits, exponent - 5, value, as_float):
            return sign + write_decimal(to, digits, 6, exponent)
    elif count == 6 or value < (SMALLEST_FLOAT if as_float else SMALLEST_DOUBLE):
        back = reread(value)
        if count == 6 or (<float>back == <float>value if as_float else back == value):
            return add_sign(sign, write_exactly(to, value, 6))
    # Otherwise it lies midway between two numbers of six digits: farther from them than what reads as a normal number.
    if decimal_digits(value, count, &digits, &exponent):
        return sign + write_decimal(to, digits, count, exponent)
    return add_sign(sign, write_exactly(to, value, count))


cdef inline int add_sign(int sign, int length) noexcept nogil:
    return length if length < 0 else sign + length


cdef int write_float(char *to, float value) noexcept nogil:
    """As `write_number`, whose number of digits is known here when this is compiled."""
    return write_number(to, value, 9)


cdef int write_double(char *to, double value, int count) noexcept nogil:
    """The same for doubles."""
    return write_number(to, value, 17) if count == 17 else write_number(to, value, 6)


cdef inline int write_up_to_eight(char *to, uint64_t value) noexcept nogil:
    """A number below 10 ** 8; the length. Eight bytes are written."""
    cdef uint64_t digits = eight_digits(value)
    # The last digit counts, be it 0 or not.
    cdef int zeros = trailing_zeros(digits | (<uint64_t>1 << 56)) >> 3
    put_digits(to, digits >> (8 * zeros))
    return 8 - zeros


cdef inline int write_unsigned(char *to, uint64_t value) noexcept nogil:
    cdef uint64_t high
    cdef int length
    if value < TEN_TO_8:
        return write_up_to_eight(to, value)
    high = value // TEN_TO_8
    if high < TEN_TO_8:
        length = write_up_to_eight(to, high)
    else:
        length = write_up_to_eight(to, high // TEN_TO_8)
        put_digits(to + length, eight_digits(high % TEN_TO_8))
        length += 8
    put_digits(to + length, eight_digits(value % TEN_TO_8))
    return length + 8


cdef inline int write_signed(char *to, int64_t value) noexcept nogil:
    cdef bint negative = value < 0
    to[0] = c"-"
    return negative + write_unsigned(to + negative, 0 - <uint64_t>value if negative else <uint64_t>value)


cdef inline char *between(char *to, int written) noexcept nogil:
    """Behind an element and a comma, which it writes."""
    to += written
    to[0] = c","
    to[1] = c" "
    return to + 2


cdef int write_element(char *to, const char *data, Py_ssize_t i, char code, int count) noexcept nogil:
    if code == c"f":
        return write_float(to, (<const float *>data)[i])
    if code == c"d":
        return write_double(to, (<const double *>data)[i], count)
    if code == c"q":
        return write_signed(to, (<const int64_t *>data)[i])
    if code == c"i":
        return write_signed(to, (<const int32_t *>data)[i])
    if code == c"h":
        return write_signed(to, (<const int16_t *>data)[i])
    if code == c"b":
        return write_signed(to, (<const int8_t *>data)[i])
    if code == c"Q":
        return write_unsigned(to, (<const uint64_t *>data)[i])
    if code == c"I":
        return write_unsigned(to, (<const uint32_t *>data)[i])
    if code == c"H":
        return write_unsigned(to, (<const uint16_t *>data)[i])
    if code == c"B":
        return write_unsigned(to, (<const uint8_t *>data)[i])
    if data[i]:
        memcpy(to, b"true", 4)
        return 4
    memcpy(to, b"false", 5)
    return 5


cdef struct Output:
    char *text
    Py_ssize_t length
    Py_ssize_t capacity
    const char *data
    Py_ssize_t position  # of the next element
    char code
    int digits


cdef bint make_output_room(Output *output, Py_ssize_t wanted) noexcept nogil:
    """Makes room for `wanted` bytes; False where there is no memory."""
    cdef char *text
    cdef Py_ssize_t capacity = output.capacity * 2
    if capacity < output.length + wanted:
        capacity = output.length + wanted
    if capacity < 256:
        capacity = 256
    text = <char *>PyMem_RawRealloc(output.text, capacity)
    if text == NULL:
        return False
    output.text = text
    output.capacity = capacity
    return True


cdef inline bint has_room(Output *output) noexcept nogil:
    """Makes room for an element, its separator and a bracket."""
    return output.capacity - output.length > LONGEST + 4 or make_output_room(output, LONGEST + 5)


cdef bint write_list(Output *output, Py_ssize_t size) noexcept nogil:
    """The next elements as a list; False where there is no memory."""
    cdef Py_ssize_t wanted, first, behind, i
    cdef int written
    cdef char *to
    if not has_room(output):
        return False
    output.text[output.length] = c"["
    output.length += 1
    while size:
        wanted = TOGETHER if size > TOGETHER else size
        size -= wanted
        if output.capacity - output.length < wanted * (LONGEST + 2) and not make_output_room(
            output, wanted * (LONGEST + 2)
        ):
            return False
        to = output.text + output.length
        first, behind = output.position, output.position + wanted
        if output.code == c"f":
            for i in range(first, behind):
                written = write_float(to, (<const float *>output.data)[i])
                if written < 0:
                    return False
                to = between(to, written)
        elif output.code == c"q":
            for i in range(first, behind):
                to = between(to, write_signed(to, (<const int64_t *>output.data)[i]))
        elif output.code == c"i":
            for i in range(first, behind):
                to = between(to, write_signed(to, (<const int32_t *>output.data)[i]))
        else:
            for i in range(first, behind):
                written = write_element(to, output.data, i, output.code, output.digits)
                if written < 0:
                    return False
                to = between(to, written)
        output.position += wanted
        output.length = to - output.text
    # There is a comma behind the last one.
    if output.text[output.length - 1] == c" ":
        output.length -= 2
    output.text[output.length] = c"]"
    output.length += 1
    return True


cdef bint write_nested(Output *output, const Py_ssize_t *shape, int rank) noexcept nogil:
    """The next elements, as nested lists of this shape; False where there is no memory."""
    cdef Py_ssize_t i
    cdef int written
    if rank == 1:
        return write_list(output, shape[0])
    if not has_room(output):
        return False
    if rank == 0:
        written = write_element(
            output.text + output.length, output.data, output.position, output.code, output.digits
        )
        output.length += written
        output.position += 1
        return written >= 0
    output.text[output.length] = c"["
    output.length += 1
    for i in range(shape[0]):
        if i:
            output.text[output.length] = c","
            output.text[output.length + 1] = c" "
            output.length += 2
        if not write_nested(output, shape + 1, rank - 1) or not has_room(output):
            return False
    output.text[output.length] = c"]"
    output.length += 1
    return True


def nested_texts(array, str code, int digits, bint by_row):
    """Writes numbers or flags as JSON.

    Args:
        array: Contiguous, of the type that `code` says.
        code: One letter of the `struct` module: f d q Q i I h H b B ?
        digits: How many significant ones a "d" may take: 17, or 6 for what came of a type of 16 bits.
        by_row: Whether to write each value of the first dimension by itself.

    Returns:
        One text, of nested lists or one number; or as many as there are rows.
    """
    cdef Py_buffer view
    cdef Output output
    cdef Py_ssize_t rows = 1, row
    cdef int skipped = by_row
    cdef bint written = True
    output.code = ord(code)
    output.digits = digits
    output.text = NULL
    output.length = output.capacity = output.position = 0
    if digits != 6 and digits != 17:
        raise ValueError(f"expected 6 or 17 digits, not {digits}")
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS)
    try:
        if view.itemsize != size_of(output.code) or view.ndim < skipped:
            raise ValueError(f"expected an array of {code}")
        output.data = <const char *>view.buf
        if by_row:
            rows = view.shape[0]
        texts = []
        for row in range(rows):
            output.length = 0
            if view.len < LARGE:
                written = write_nested(&output, view.shape + skipped, view.ndim - skipped)
            else:
                with nogil:
                    written = write_nested(&output, view.shape + skipped, view.ndim - skipped)
            if not written:
                raise MemoryError
            texts.append(output.text[: output.length].decode("ascii"))
        return texts
    finally:
        PyMem_RawFree(output.text)
        PyBuffer_Release(&view)


def answer_of_one(bytes data not None, tuple shape not None, str code not None, bint row_format):
    """Writes the body that answers a predict request, where there is one output.

    Args:
        data: The bytes of the array, in row order.
        shape: At least one dimension, none of which is 0.
        code: For what `data` is: one letter of the `struct` module: f d q Q i I h H b B ?
        row_format: Whether the key is `predictions`, and not `outputs`.
    """
    cdef Output output
    cdef Py_ssize_t sizes[MAX_RANK]
    cdef Py_ssize_t count = 1
    cdef int rank = <int>len(shape), i
    cdef bint written
    if not 0 < rank <= MAX_RANK:
        raise ValueError(f"expected 1 to {MAX_RANK} dimensions, not {rank}")
    for i in range(rank):
        sizes[i] = shape[i]
        # Neither overflows: both are lengths in memory, or are refused here.
        if not 0 < sizes[i] <= PyBytes_GET_SIZE(data) // count:
            raise ValueError(f"expected an array of shape {shape}")
        count *= sizes[i]
    output.code = ord(code)
    output.digits = 17
    if count * size_of(output.code) != PyBytes_GET_SIZE(data):
        raise ValueError(f"expected {count} elements of {code}")
    output.data = PyBytes_AS_STRING(data)
    output.text = NULL
    output.length = output.capacity = output.position = 0
    try:
        if not has_room(&output):
            raise MemoryError
        if row_format:
            memcpy(output.text, b'{\n    "predictions": ', 21)
            output.length = 21
        else:
            memcpy(output.text, b'{\n    "outputs": ', 17)
            output.length = 17
        if count < LARGE:
            written = write_nested(&output, sizes, rank)
        else:
            with nogil:
                written = write_nested(&output, sizes, rank)
        if not written or not has_room(&output):
            raise MemoryError
        if row_format:
            # The last bracket has a line of its own.
            memcpy(output.text + output.length - 1, b"\n    ]\n}", 8)
            output.length += 7
        else:
            memcpy(output.text + output.length, b"\n}", 2)
            output.length += 2
        return PyBytes_FromStringAndSize(output.text, output.length)
    finally:
        PyMem_RawFree(output.text)


def answers_of_rows(
    bytes data not None, tuple shape not None, str code not None, bint row_format, list starts not None,
    list counts not None
):
    """Writes the bodies that answer several predict requests from one output that has the rows of all of them.

    Args:
        data: The bytes of the array, in row order.
        shape: At least one dimension, none of which is 0; the first one counts the rows.
        code: For what `data` is: one letter of the `struct` module: f d q Q i I h H b B ?
        row_format: Whether the key is `predictions`, and not `outputs`.
        starts: Where the rows of each request begin.
        counts: How many it has, at least one.
    """
    cdef Py_ssize_t i, start, count, rows = shape[0], row_bytes
    cdef tuple tail = shape[1:]
    if rows <= 0 or PyBytes_GET_SIZE(data) % rows or len(starts) != len(counts):
        raise ValueError(f"expected an array of shape {shape}, and as many counts as starts")
    row_bytes = PyBytes_GET_SIZE(data) // rows
    cdef list bodies = []
    for i in range(len(starts)):
        start, count = starts[i], counts[i]
        if not 0 <= start < rows or not 0 < count <= rows - start:
            raise ValueError(f"expected rows of the {rows} that there are, not {count} from {start} on")
        part = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start * row_bytes, count * row_bytes)
        bodies.append(answer_of_one(part, (count, *tail), code, row_format))
    return bodies

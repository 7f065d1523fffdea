# cython: language_level=3
"""Times of many requests, counted in C: what `spans.observe_spans_in_python` does; see there."""

REVISION = 1  # to be raised, here and in spans.py, with every change of what Python sees of this file

cdef enum:
    MOST_BUCKETS = 128


cdef inline Py_ssize_t bucket_of(tuple limits, double value, Py_ssize_t guess):
    """How many limits are not above the value; as many as for the one before, most of the time."""
    cdef Py_ssize_t low = 0, high = len(limits), middle
    if (guess == high or value < <double>limits[guess]) and (guess == 0 or value >= <double>limits[guess - 1]):
        return guess
    while low < high:
        middle = (low + high) >> 1
        if value < <double>limits[middle]:
            high = middle
        else:
            low = middle + 1
    return low


def observe_spans(list begins not None, object ends, tuple cells not None, tuple limits not None):
    """See `spans.observe_spans_in_python`."""
    cdef Py_ssize_t found[MOST_BUCKETS]
    cdef Py_ssize_t buckets = len(limits) + 1, i, bucket = 0
    cdef double total = 0, span, end = 0
    cdef list all_ends = None
    cdef list counts
    if buckets > MOST_BUCKETS:
        raise ValueError(f"expected up to {MOST_BUCKETS - 1} limits, not {len(limits)}")
    if type(ends) is list:
        all_ends = ends
        if len(all_ends) != len(begins):
            raise ValueError(f"expected as many ends as there are beginnings, {len(begins)}, not {len(all_ends)}")
    else:
        end = ends
    for i in range(buckets):
        found[i] = 0
    for i in range(len(begins)):
        if all_ends is not None:
            end = all_ends[i]
        span = 1e6 * (end - <double>begins[i])
        if span < 0:
            span = 0
        bucket = bucket_of(limits, span, bucket)
        found[bucket] += 1
        total += span
    for cell in cells:
        if cell is None:
            continue
        counts = cell.counts
        if len(counts) != buckets:
            raise ValueError(f"expected {buckets} buckets, not {len(counts)}")
        for i in range(buckets):
            if found[i]:
                counts[i] = counts[i] + found[i]
        cell.total = cell.total + total

cimport cython

from ..http.headers cimport Headers
from .windows cimport Windows

cdef int _IDLE, _COMPACT, _SMALL
cdef int DEFAULT_PRIORITY
cdef long long _UNKNOWN


@cython.final
cdef class Stream(Windows):
    cdef public long long id
    cdef public object key
    cdef public int state
    cdef public bint has_head_in
    cdef public long long lent
    cdef public long long in_left
    cdef public long long in_total
    cdef public int interim
    cdef public bint has_head_out
    cdef public long long out_left
    cdef public Py_ssize_t queued
    cdef public long long taken
    cdef public bint is_call
    cdef public bint is_ending
    cdef public Headers trailers
    cdef public bint is_ready
    cdef public bint is_to_head
    cdef public bytes offered
    cdef public bytes accept
    cdef public bint is_tunnel
    cdef public int urgency
    cdef public bint incremental
    cdef bytes _piece
    cdef list _pieces
    cdef Py_ssize_t _first
    cdef Py_ssize_t _start

    @cython.locals(pieces=list, last=bytes)
    cpdef put(self, bytes data)
    @cython.locals(pieces=list, piece=bytes, start=Py_ssize_t, there=Py_ssize_t)
    cpdef take(self, Py_ssize_t size, list out)
    @cython.locals(dropped=Py_ssize_t)
    cpdef Py_ssize_t drop(self) except -1


@cython.locals(stream=Stream)
cpdef Stream new_stream(long long stream_id, long long outgoing, long long incoming)

cimport cython

from . cimport words_c as words
from ..events cimport Event


cdef Py_ssize_t MOST_GATHERED


cdef class HTTPConnection:
    cdef readonly Py_ssize_t error_length
    cdef public Py_ssize_t room
    cdef bytes _out
    cdef list _out_more
    cdef Py_ssize_t _out_size

    cdef _set_up(self)
    cpdef receive_data(self, bytes data)
    cpdef receive_eof(self)
    cpdef next_event(self)
    cpdef send(self, Event event)
    @cython.locals(first=bytes, more=list)
    cpdef bytes data_to_send(self)
    @cython.locals(first=bytes, more=list, is_small=bint)
    cpdef output_to_send(self)
    cdef _pull(self)
    cdef _queue(self, bytes data)
    cdef _forget_queued(self)
    cdef Py_ssize_t count_buffered(self) except -1
    cdef bint has_head_begun(self) except -1


@cython.locals(count=Py_ssize_t)
cdef bytes _joined(bytes first, list more)

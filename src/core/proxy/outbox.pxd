cimport cython

from ..http cimport words_c as words
from .side cimport Side


cdef Py_ssize_t _JOINED, _SMALL


cdef class Outbox(Side):
    cdef public Py_ssize_t unsent
    cdef public long long taken
    cdef bytes _current
    cdef Py_ssize_t _sent
    cdef list _more
    cdef double _progress

    cdef _set_up_outbox(self)
    @cython.locals(more=list)
    cpdef data_to_send(self)
    cdef send_first(self, bytes data, double now)
    @cython.locals(more=list, last=bytes)
    cdef _put(self, bytes data, double now)
    cdef _took(self, Py_ssize_t nbytes, double now)
    cdef _throw_away(self)

cimport cython

from ..events cimport Event


cdef class HTTPConnection:
    cdef readonly Py_ssize_t error_length
    cdef public Py_ssize_t room

    cpdef receive_data(self, bytes data)
    cpdef receive_eof(self)
    cpdef next_event(self)
    cpdef send(self, Event event)
    @cython.locals(pieces=list)
    cpdef bytes data_to_send(self)
    cpdef list pieces_to_send(self)
    cpdef Py_ssize_t count_buffered(self) except -1
    cpdef bint has_head_begun(self) except -1

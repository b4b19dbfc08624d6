cimport cython

from ..buffer cimport ReceiveBuffer
from ..http.grammar cimport cut, skip_target, skip_token
from .fields cimport kind_of, read_field
from .lines cimport read_line


cdef class HeadReader:
    cdef bint _is_request
    cdef bint _started
    cdef Py_ssize_t _size
    cdef Py_ssize_t _count
    cdef Py_ssize_t _blank_lines
    cdef Py_ssize_t _max_target
    cdef Py_ssize_t _max_head
    cdef Py_ssize_t _max_start_line
    cdef Py_ssize_t _max_fields
    cdef Py_ssize_t _max_blank_lines
    cdef public bytes method
    cdef public bytes target
    cdef public bint http_1_1
    cdef public int status
    cdef public bytes reason
    cdef public list pairs
    cdef public list hosts
    cdef public list lengths
    cdef public list codings
    cdef public list connection
    cdef public list upgrades
    cdef public list expects
    cdef public list te

    cpdef reset(self)
    @cython.locals(p="const unsigned char *", start=Py_ssize_t, end=Py_ssize_t)
    cpdef bint read(self, ReceiveBuffer buffer) except -1
    cpdef bint begun(self) except -1
    @cython.locals(p="const unsigned char *", space=Py_ssize_t, second=Py_ssize_t)
    cdef _request_line(self, object data, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(p="const unsigned char *", status=int, at=Py_ssize_t, digit=int)
    cdef _status_line(self, object data, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(version=bytes)
    cdef _version(self, object data, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(pair=tuple, kind=int)
    cdef _field(self, object data, Py_ssize_t start, Py_ssize_t end)

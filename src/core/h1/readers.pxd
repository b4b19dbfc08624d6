cimport cython

from ..buffer cimport ReceiveBuffer
from ..events cimport Data, EndOfMessage, data_event
from ..http.fields cimport allowed_in_trailers
from ..http.grammar cimport hexadecimal, skip_quoted, skip_space, skip_token
from ..http.headers cimport Headers
from .bounds cimport H1Bounds
from .fields cimport read_field
from .lines cimport read_line

cdef EndOfMessage END
cdef int _CONTENT, _CONTENT_END, _SIZE, _TRAILERS
cdef int INCOMPLETE, MAX_SIZE_DIGITS
cdef long long _EVERYTHING


cdef class BodyReader:
    cpdef object read(self, ReceiveBuffer buffer)
    cpdef object end(self)


cdef class LengthReader(BodyReader):
    cdef public long long left

    @cython.locals(data=bytes)
    cpdef object read(self, ReceiveBuffer buffer)


cdef class UntilCloseReader(BodyReader):
    @cython.locals(data=bytes)
    cpdef object read(self, ReceiveBuffer buffer)
    cpdef object end(self)


cdef class ChunkedReader(BodyReader):
    cdef H1Bounds _bounds
    cdef object _max_body
    cdef set _named
    cdef int _state
    cdef long long _left
    cdef object _total
    cdef Py_ssize_t _size
    cdef Py_ssize_t _count
    cdef list _trailers

    @cython.locals(data=bytes)
    cpdef object read(self, ReceiveBuffer buffer)
    @cython.locals(p="const unsigned char *", start=Py_ssize_t, end=Py_ssize_t, digits=Py_ssize_t, length="long long")
    cdef bint _read_size(self, ReceiveBuffer buffer) except -1
    @cython.locals(p="const unsigned char *", start=Py_ssize_t, there=Py_ssize_t)
    cdef bint _read_content_end(self, ReceiveBuffer buffer) except -1
    @cython.locals(p="const unsigned char *", start=Py_ssize_t, end=Py_ssize_t, pair=tuple)
    cdef bint _read_trailers(self, ReceiveBuffer buffer) except -1


@cython.locals(name=Py_ssize_t, equals=Py_ssize_t, value=Py_ssize_t)
cdef bint _is_extension(const unsigned char *p, Py_ssize_t start, Py_ssize_t end) except -1
cdef Py_ssize_t _after_quoted(const unsigned char *p, Py_ssize_t start, Py_ssize_t end) except -2

cimport cython

from ..events cimport InformationalResponse, Request, Response
from ..http.authority cimport parse_authority
from ..http.grammar cimport decimal, is_token, is_value, skip_target, skip_value
from ..http.headers cimport Headers
from .fields cimport allowed_in_trailers


cdef class HeadWriter:
    cdef list _pieces
    cdef list _options
    cdef long long _content_length
    cdef public long long length

    @cython.locals(method=bytes, target=bytes, size=Py_ssize_t)
    cpdef bytes request(self, Request request, bint close)
    @cython.locals(status=int)
    cpdef bytes response(self, Response response, bint to_head, bint to_http_1_1, bint close)
    cpdef bytes informational(self, InformationalResponse response)
    cpdef bytes trailers(self, Headers trailers)
    cdef _status_line(self, int status, bytes reason)
    @cython.locals(pair=tuple)
    cdef _fields(self, Headers headers, bint with_length)
    @cython.locals(length="long long")
    cdef _length(self, bytes value, bint write)
    cdef _field(self, bytes name, bytes value)
    cdef _upgrade(self, bytes protocols)
    cdef bytes _finish(self)

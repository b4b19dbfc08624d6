cimport cython

from ..events cimport InformationalResponse, Request, Response
from ..http cimport words_c as words
from ..http.authority cimport parse_authority
from ..http.grammar cimport is_token, is_value, skip_target, skip_value
from ..http.headers cimport Headers
from ..http.outgoing cimport checked_length, trailer_lines, vouched

cdef int _P, _ABSENT, CHUNKED, UNTIL_CLOSE, _NO_LENGTH
cdef list _STATUS_REASONS, _STATUS_LINES
cdef frozenset _WITH_BODY


@cython.final
cdef class HeadWriter:
    cdef bytes _own
    cdef list _options
    cdef long long _content_length
    cdef public long long length

    cpdef reset(self)
    @cython.locals(method=bytes, target=bytes, authority=bytes, size=Py_ssize_t, fields=bytes)
    cpdef bytes request(self, Request request, bint close)
    @cython.locals(status=int, line=bytes, fields=bytes)
    cpdef bytes response(self, Response response, bint to_head, bint to_http_1_1, bint close)
    @cython.locals(line=bytes)
    cpdef bytes informational(self, InformationalResponse response)
    cpdef bytes trailers(self, Headers trailers)
    @cython.locals(known=bytes)
    cdef bytes _status_line(self, int status, bytes reason)
    @cython.locals(found=Headers)
    cdef bytes _fields(self, Headers headers, bint with_length)
    cdef _upgrade(self, bytes protocols)
    cdef _option(self, bytes name)
    @cython.locals(options=list, names=bytes)
    cdef bytes _finish(self)

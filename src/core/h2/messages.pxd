cimport cython

from ..events cimport InformationalResponse, Request, Response
from ..http.authority cimport parse_authority
from ..http.fields cimport allowed_in_trailers
from ..http.framing cimport content_length
from ..http.grammar cimport decimal, is_token, is_value, skip_target
from ..http.headers cimport Headers, of_block, split_block
from ..http.outgoing cimport checked_length, trailer_lines, vouched
from .encoder cimport HeaderEncoder
from .head cimport Head

cdef long long _ABSENT, _NO_LENGTH
cdef int GET_INDEX
cdef bytes _HTTP_2, _GET, _HTTPS, _INDEXED
cdef dict _METHODS, _SCHEMES
cdef list _STATUSES

@cython.locals(method=bytes, protocol=bytes, lower=bytes, path=bytes, size=Py_ssize_t, length="long long", expects=bint, request=Request)
cpdef Request read_request(
    Head head, bytes scheme, long long stream_id, bint ended, Py_ssize_t max_target, long long max_body
)
@cython.locals(text=bytes, status=int, length="long long", empty=bint, block=bytes, response=Response)
cpdef read_response(Head head, long long stream_id, bint ended, bint to_head, bytes protocol, bytes accept)
cpdef Headers read_trailers(Head head)
cdef _check(Head head)
cdef Headers _headers(Head head, long long length, bint te)
cdef Headers _of_head(Head head, bytes block, long long length, bint te)
@cython.locals(authority=bytes, host=bytes)
cdef bytes _authority(Head head)
cdef bint _expects_continue(Head head) except -1
cdef Headers _tunnel_headers(Head head, bytes protocol, long long stream_id)

cpdef bytes connect_protocol(Request request)
cpdef bytes expected_accept(Request request)
@cython.locals(method=bytes, target=bytes, size=Py_ssize_t, authority=bytes, scheme=int, block=bytes, protocol=bytes, own=bytes, line=bytes)
cpdef bytes write_request(HeaderEncoder encoder, Request request)
@cython.locals(status=int, index=int, block=bytes, own=bytes)
cpdef bytes write_response(HeaderEncoder encoder, Response response, bint to_head, bytes protocol, long long stream_id)
cdef bytes _write_switch(HeaderEncoder encoder, Response response, bytes protocol, long long stream_id)
@cython.locals(status=int)
cpdef bytes write_informational(HeaderEncoder encoder, InformationalResponse response)
@cython.locals(lines=list)
cpdef bytes write_trailers(HeaderEncoder encoder, Headers trailers)
@cython.locals(found=Headers)
cdef bytes _fields(HeaderEncoder encoder, Headers headers, bint with_length)

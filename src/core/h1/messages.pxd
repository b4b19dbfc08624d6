cimport cython

from ..events cimport InformationalResponse, Request, Response
from ..http.authority cimport parse_authority
from ..http.fields cimport kept
from ..http.framing cimport content_length, request_length, response_length
from ..http.grammar cimport list_members, split_list
from ..http.headers cimport Headers, of_block, split_block
from .head cimport HeadReader

cdef int CHUNKED
cdef long long NO_LENGTH
cdef bytes _HTTP_1_0, _HTTP_1_1

cdef list _KEEP_ALIVE, _NOTHING
cdef set _NO_NAMES
cdef dict _COMMON_OPTIONS, KINDS

@cython.locals(values=list, common=list)
cpdef list connection_options(HeadReader head)
cpdef set named_fields(list options)
cpdef bint is_persistent(bint http_1_1, list options) except -1
@cython.locals(length="long long", expects=bint, host=bytes, authority=bytes, target=bytes, sound_target=bytes, request=Request)
cpdef Request build_request(HeadReader head, list options, bytes scheme)
@cython.locals(length="long long", announced="long long", status=int, upgrade=bytes, response=Response)
cpdef Response build_response(HeadReader head, list options, bint to_head, bytes offered)
cpdef InformationalResponse build_informational(HeadReader head, list options)
@cython.locals(begin=Py_ssize_t, query=Py_ssize_t, end=Py_ssize_t, rest=bytes)
cpdef tuple split_target(bytes method, bytes target)
cpdef bint is_offered(bytes protocol, bytes offered) except -1
@cython.locals(host=bytes)
cdef bytes _host(HeadReader head)
cdef bint _expects_continue(HeadReader head) except -1
cdef bint _takes_trailers(HeadReader head) except -1
@cython.locals(block=bytes, pairs=list, text=bytes, way=int, named=set)
cdef Headers _end_to_end(HeadReader head, list options, long long length, bint te)
cdef bytes _offer(HeadReader head, list options)
cdef list _members(list values)

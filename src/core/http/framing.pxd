cimport cython

from .grammar cimport decimal, is_token

@cython.locals(length="long long", first=bytes)
cpdef long long content_length(list values) except? -100
@cython.locals(length="long long")
cpdef long long request_length(bint http_1_1, list lengths, list codings) except? -100
@cython.locals(length="long long")
cpdef long long response_length(bint http_1_1, int status, bint to_head, list lengths, list codings) except? -100
cdef _check_codings(bint http_1_1, long long length, list codings)

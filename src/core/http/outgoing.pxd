cimport cython

from .fields cimport allowed_in_trailers
from .grammar cimport decimal, is_token, is_value
from .headers cimport Headers, of_block

cdef long long _NO_LENGTH

@cython.locals(pair=tuple, lines=list, length="long long", te=bint)
cpdef Headers vouched(Headers headers, bint with_length)
@cython.locals(lines=list)
cpdef list trailer_lines(Headers trailers)
cpdef bytes field_line(bytes name, bytes value)
cpdef object checked_length(object body_length)
cpdef Headers refusal_fields(int status, Py_ssize_t size)

cimport cython

from ..events cimport Data, EndOfMessage, Event, InformationalResponse, Request, Response, StreamReset
from ..http.headers cimport Headers
from .encoder cimport HeaderEncoder
from .messages cimport connect_protocol as protocol_of
from .messages cimport (
    expected_accept,
    write_informational,
    write_request,
    write_response,
    write_trailers,
)
from .priority cimport parse_priority
from .receiving cimport Receiving
from .states cimport move
from .stream cimport Stream, new_stream

cdef int _HALF_CLOSED_REMOTE, _OPEN, _SEND_DATA, _SEND_HEADERS
cdef int DATA, END_STREAM, FORBIDDEN, NO_ERROR, UNKNOWN, WINDOW_UPDATE
cdef long long LARGEST_STREAM_ID


cdef class H2Connection(Receiving):
    cdef bint _closed
    cdef bint _going
    cdef long long _next_id

    # What there is to know
    cdef bint has_head_begun(self) except -1
    cdef Py_ssize_t count_buffered(self) except -1
    cpdef bint can_open(self) except -1
    @cython.locals(stream=Stream)
    cpdef bint is_done(self) except -1
    @cython.locals(stream=Stream)
    cpdef bint is_receiving(self, long long stream_id) except -1
    cpdef bint has_settings(self) except -1
    cpdef long long count_allowed(self) except -1
    @cython.locals(stream=Stream)
    cpdef Py_ssize_t queued(self, long long stream_id) except -1
    @cython.locals(stream=Stream)
    cpdef long long taken(self, long long stream_id) except -1
    @cython.locals(stream=Stream)
    cpdef bint waits_for_turn(self, long long stream_id) except -1

    # Receiving
    cpdef receive_data(self, bytes data)
    cpdef receive_eof(self)
    @cython.locals(stream=Stream, unpaid=dict, left="long long")
    cpdef acknowledge(self, long long stream_id, long long size)

    # Sending
    cpdef send(self, Event event)
    @cython.locals(stream_id="long long")
    cpdef long long open_stream(self) except -1
    @cython.locals(stream=Stream, section=bytes)
    cpdef send_head(self, long long stream_id, Event event)
    @cython.locals(stream=Stream, section=bytes, encoder=HeaderEncoder, protocol=bytes)
    cdef _send_request(self, long long stream_id, Request request)
    @cython.locals(section=bytes, encoder=HeaderEncoder, priority=bytes, ended=bint)
    cdef _send_response(self, Stream stream, Response response)
    cdef _send_first(self, Stream stream, bytes section, bint ended)
    @cython.locals(stream=Stream, size=Py_ssize_t)
    cpdef send_data(self, long long stream_id, data)
    @cython.locals(stream=Stream)
    cpdef send_end(self, long long stream_id, Headers trailers=*)
    @cython.locals(stream=Stream)
    cdef Stream _find(self, long long stream_id)

    # The end of streams and of the connection
    @cython.locals(stream=Stream)
    cpdef reset(self, long long stream_id, long long code=*)
    @cython.locals(stream=Stream)
    cpdef StreamReset fail_stream(self, long long stream_id, fault, message)
    cpdef bint has_late(self) except -1
    @cython.locals(late=dict)
    cpdef refuse_late(self)
    cpdef shutdown(self)
    cpdef finish_shutdown(self)
    cpdef close(self, long long code=*)
    cpdef rest(self)
    cpdef ping(self, bytes data)

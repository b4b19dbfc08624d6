cimport cython

from ..buffer cimport ReceiveBuffer
from ..events cimport (
    ConnectionClosed,
    Data,
    EndOfMessage,
    Event,
    InformationalResponse,
    Request,
    Response,
)
from ..http.connection cimport HTTPConnection
from ..http.outgoing cimport refusal_fields
from .bounds cimport H1Bounds
from .head cimport HeadReader
from .messages cimport (
    build_informational,
    build_request,
    build_response,
    connection_options,
    is_offered,
    is_persistent,
    named_fields,
)
from .readers cimport BodyReader, ChunkedReader, LengthReader, UntilCloseReader
from .states cimport move
from .writers cimport HeadWriter


cdef int _IDLE, _ANSWERING, _BODY, _DONE, _MUST_CLOSE, _CLOSED, _TUNNEL, _ERROR
cdef int _ON_DATA, _ON_END, _ON_EOF, _ON_INFORMATIONAL, _ON_NEXT, _ON_REQUEST, _ON_RESPONSE, _ON_STOP, _ON_SWITCH
cdef int _CHUNKED, _UNTIL_CLOSE, FORBIDDEN
cdef BodyReader _NO_BODY
cdef object NEED_DATA, PAUSED


cdef class H1Connection(HTTPConnection):
    cdef H1Bounds _bounds
    cdef bytes _scheme
    cdef bint _is_server
    cdef ReceiveBuffer _buffer
    cdef HeadReader _head
    cdef BodyReader _body
    cdef HeadWriter _writer
    cdef LengthReader _length_reader
    cdef long long _out_left
    cdef int _state_in
    cdef int _state_out
    cdef bint _eof
    cdef bint _closed_reported
    cdef object _error
    cdef public bint keep_alive
    cdef bint _request_1_1
    cdef bint _request_is_head
    cdef bytes _offered
    cdef bint _awaits_continue
    cdef int _interim

    cdef _begin(self, bint is_server, H1Bounds bounds, bytes scheme)
    cdef _start_exchange(self)
    cpdef begin_tunnel(self)

    # What there is to know
    cdef bint is_reusable(self) except -1
    cdef Py_ssize_t count_buffered(self) except -1
    cdef bint has_head_begun(self) except -1

    # Receiving
    cpdef receive_data(self, bytes data)
    cpdef receive_eof(self)
    cpdef next_event(self)
    @cython.locals(state=int)
    cdef object _next(self)
    cdef object _end_of_file(self)
    @cython.locals(head=HeadReader, options=list, request=Request, limit="long long", length="long long")
    cdef object _read_request(self)
    @cython.locals(head=HeadReader, options=list, response=Response, status=int, length="long long", until_close=bint)
    cdef object _read_response(self)
    @cython.locals(reader=LengthReader)
    cdef BodyReader _reader(self, long long length, long long limit, list options)
    cdef object _read_body(self)
    cdef _fail(self, object error)

    # Sending
    cpdef send(self, Event event)
    cpdef fail(self, object fault, object message)
    cpdef start_next_cycle(self)
    @cython.locals(state=int, writer=HeadWriter)
    cdef _send_request(self, Request request)
    @cython.locals(state=int, writer=HeadWriter, unasked=bint, close=bint)
    cdef _send_response(self, Response response)
    cdef _send_switch(self, Response response)
    cdef _send_informational(self, InformationalResponse response)
    @cython.locals(size=Py_ssize_t, left="long long", data=object)
    cdef _send_data(self, Data event)
    @cython.locals(state=int)
    cdef _send_end(self, EndOfMessage event)

    # States
    @cython.locals(state=int)
    cdef int _allowed(self, int event, bint our_role) except -1
    @cython.locals(state=int)
    cdef _move_in(self, int event)
    @cython.locals(state=int)
    cdef _move_out(self, int event)
    cdef _settle(self)
    cdef _stop_reading(self)
    cdef _switch(self)


cdef H1Bounds _DEFAULT_BOUNDS


@cython.locals(http=H1Connection)
cpdef H1Connection h1_connection(bint is_server, H1Bounds bounds, bytes scheme=*)

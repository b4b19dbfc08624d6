cimport cython

from . cimport states
from ..events cimport DataReceived, handshake_event, hello_event
from .engine cimport CEngine, CEngineContext
from .hello cimport ClientHello, ClientHelloReader, hello_records
from .info cimport TLSInfo, tls_info
from .server_context cimport ServerContext

cdef int _OK, _WANT, _CLOSED, _FAILED
cdef long long _ALLOWANCE, _PER_DATA
cdef Py_ssize_t _MAX_READ, _EARLY_BYTES, _EARLY_RECORD, _RECORD
cdef object NEED_DATA, PAUSED, SERVER
cdef object ConnectionClosed

@cython.final
cdef class TLSConnection:
    cdef readonly object role
    cdef readonly TLSInfo info
    cdef readonly ClientHello hello
    cdef readonly bint closed_by_peer
    cdef readonly object plain_http
    cdef CEngine _engine
    cdef ClientHelloReader _reader
    cdef int _state
    cdef bint _receiving
    cdef bint _sending
    cdef bint _eof
    cdef bint _alert_received
    cdef Py_ssize_t _early
    cdef Py_ssize_t _max_hello
    cdef long long _data_read
    cdef bytes _alpn
    cdef object _records
    cdef bytes _held
    cdef bytes _output
    cdef str _reason
    cdef object _alert
    cdef bint _tickets_wait
    cdef bint _wants_peer
    cdef object _pins

    cdef _begin(self, role, Py_ssize_t max_hello)

    # Incoming
    cpdef receive_data(self, data)
    @cython.locals(p="const unsigned char *")
    cpdef receive_part(self, bytearray buffer, Py_ssize_t size)
    cpdef receive_eof(self)
    cpdef next_event(self)

    # Outgoing
    cpdef send(self, data)
    @cython.locals(i=Py_ssize_t, last=Py_ssize_t, total=Py_ssize_t, size=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, gathered=list)
    cpdef send_pieces(self, list pieces)
    cpdef data_to_send(self)

    # Decisions of the application
    @cython.locals(hello=ClientHello, chosen=ServerContext, alpn=bytes, engines=CEngineContext, engine=CEngine)
    cpdef use_context(self, context)
    cpdef refuse(self, alert)
    cpdef bytes give_back(self)
    cpdef idled(self)
    cpdef rest(self)
    cpdef take_session(self)
    cpdef close(self)

    cdef _store(self, bytes data)
    @cython.locals(engine=CEngine, status=int, stop=Py_ssize_t)
    cdef _encrypt(self, data, Py_ssize_t start, Py_ssize_t end)

    # One for each state that receives
    @cython.locals(reader=ClientHelloReader, hello=ClientHello)
    cdef _next_hello(self)
    @cython.locals(engine=CEngine, status=int, hello=ClientHello, info=TLSInfo)
    cdef _next_handshake(self)
    cdef _look_at_peer(self, TLSInfo info)
    @cython.locals(engine=CEngine, status=int, data=bytes, event=DataReceived)
    cdef _next_data(self)

    # Changes of state
    cdef _peer_closed(self, bint clean)
    @cython.locals(state=int)
    cdef _move(self, int what)
    cdef _release(self)
    cdef _fail(self, reason, alert)
    @cython.locals(engine=CEngine)
    cdef _fail_with_engine(self)
    @cython.locals(engine=CEngine)
    cdef _abort(self, reason)
    cdef _error(self)


@cython.locals(tls=TLSConnection)
cpdef TLSConnection server_connection(Py_ssize_t max_hello)

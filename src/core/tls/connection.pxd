cimport cython

cdef class TLSConnection:
    cdef readonly object role
    cdef readonly object state
    cdef readonly object info
    cdef readonly object hello
    cdef readonly bint closed_by_peer
    cdef readonly object plain_http
    cdef object _limits
    cdef object _context
    cdef object _engine
    cdef object _reader
    cdef bytes _held
    cdef bytes _output
    cdef bint _eof
    cdef bint _receiving
    cdef bint _sending
    cdef long long _data_read
    cdef str _reason
    cdef object _alert
    cdef bint _alert_received

    # The five verbs
    cpdef receive_data(self, data)
    cpdef receive_eof(self)
    cpdef next_event(self)
    cpdef send(self, data)
    cpdef data_to_send(self)

    # Decisions of the application
    cpdef use_context(self, context)
    cpdef refuse(self, alert)
    cpdef close(self)

    # One for each state that receives
    cdef _next_hello(self)
    cdef _next_handshake(self)
    cdef _next_data(self)

    # Changes of state
    cdef _peer_closed(self, bint clean)
    cdef _move(self, what)
    cdef _release(self)
    cdef _fail(self, reason, alert)
    cdef _fail_with_engine(self)
    cdef _abort(self, reason)
    cdef _error(self)

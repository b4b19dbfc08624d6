cimport cython

cdef class Channel

from ..commands cimport SendData
from ..events cimport DataReceived
from ..http.connection cimport HTTPConnection
from ..http.grammar cimport cut
from ..tls.connection cimport TLSConnection
from .bounds cimport Bounds
from .hub cimport ReverseProxy
from .outbox cimport Outbox
from .timers cimport Timer


cdef double NEVER
cdef Py_ssize_t _STREAM_LOW
cdef int CLOSED, CLOSING, LINGERING, OPEN
cdef object NEED_DATA, PAUSED
cdef object ABORT, BOTH, HALF


cdef class Channel(Outbox):
    cdef public ReverseProxy hub
    cdef public object transport
    cdef public int phase
    cdef public TLSConnection tls
    cdef public HTTPConnection http
    cdef public bint multiplexed
    cdef public bint eof
    cdef public bint held
    cdef public bint reading
    cdef public Timer timer
    cdef SendData _send
    cdef public Channel next_unsettled
    cdef bint _announced
    cdef bint _on_list
    cdef double _linger_until
    cdef Py_ssize_t _dropped
    cdef bint _half_close
    cdef bint _again

    cdef _set_up(self, ReverseProxy hub)

    # What the adapter calls
    cpdef arrived_at(self, tuple local)
    cpdef get_buffer(self)
    cpdef buffer_updated(self, Py_ssize_t nbytes, double now)
    cpdef receive_data(self, bytes data, double now)
    cpdef receive_eof(self, double now)
    cpdef connection_lost(self, double now, str reason=*)
    cpdef bint wants_pieces(self) except -1
    @cython.locals(other=Channel, bounds=Bounds)
    cpdef Py_ssize_t piece_size(self) except -1
    cpdef bint closes_next(self) except -1
    @cython.locals(hub=ReverseProxy, before=Py_ssize_t)
    cpdef data_sent(self, Py_ssize_t nbytes, double now)
    cpdef connected(self, double now)
    cpdef connect_failed(self, double now, str reason)

    # For Downstream, Upstream and the hub
    @cython.locals(received=DataReceived)
    cdef advance(self)
    cdef touch(self)
    cdef hold(self)
    cdef release(self)
    cdef go_on(self)
    cpdef pause(self)
    cpdef resume(self)
    @cython.locals(data=bytes, http=HTTPConnection, tls=TLSConnection)
    cdef flush(self)
    cpdef close(self)
    cpdef finish_sending(self)
    cpdef abort(self)
    cpdef fail(self)
    cpdef let_go(self)
    @cython.locals(deadline=double, stalled=double)
    cdef settle(self)
    cpdef expire(self)
    cpdef drain(self)
    cpdef cut_off(self)

    # What Downstream and Upstream fill in
    cdef Channel _other_end(self)
    cdef _advance_http(self)
    cdef _on_tls_event(self, event)
    cdef _tls_failed(self, error)
    cdef _stream_ended(self, bint clean)
    cdef _lost(self, str reason)
    cdef _received(self, Py_ssize_t nbytes)
    cdef _received_first(self, bytes data)
    cdef _flushed(self)
    cdef _settle(self)
    cdef double _read_deadline(self) except -1
    cdef _too_slow(self)
    cdef _write_stalled(self)

    # Own
    cdef _sent_all(self)
    cdef _drop(self, Py_ssize_t nbytes)
    cdef _closed(self, how)

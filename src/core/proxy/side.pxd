from ..events cimport Event, Response


cdef class Side:
    # Both ends
    cdef hold(self)
    cdef release(self)
    cpdef finish_sending(self)
    cdef connection(self)
    cdef bint is_crowded(self) except -1

    # The client's end
    cpdef send_interim(self, event)
    cpdef body_due(self)
    cdef respond(self, Response response)
    cdef response_sent(self)
    cpdef answer(self, answer)
    cdef go_on(self)
    cpdef tunnel_closed(self)
    cpdef Py_ssize_t refused(self) except -1
    cpdef break_off(self)

    # The server's end
    cdef bint is_ready(self) except -1
    cpdef belong_to(self, client)
    cdef bint send(self, Event event) except -1
    cdef request_sent(self)
    cdef finished(self, bint request_ended)
    cpdef leave(self)
    cpdef leave_tunnel(self)
    cpdef tunnel_left(self)

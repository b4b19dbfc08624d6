from ..events cimport Event, Response


cdef class Side:
    # Both ends
    cpdef hold(self)
    cpdef release(self)
    cpdef finish_sending(self)
    cpdef connection(self)
    cpdef bint is_crowded(self) except -1

    # The client's end
    cpdef send_interim(self, event)
    cpdef body_due(self)
    cpdef respond(self, Response response)
    cpdef response_sent(self)
    cpdef answer(self, answer)
    cpdef go_on(self)
    cpdef tunnel_closed(self)
    cpdef Py_ssize_t refused(self) except -1
    cpdef break_off(self)

    # The server's end
    cpdef bint is_ready(self) except -1
    cpdef belong_to(self, client)
    cpdef bint send(self, Event event) except -1
    cpdef request_sent(self)
    cpdef finished(self, bint request_ended)
    cpdef leave(self)
    cpdef leave_tunnel(self)
    cpdef tunnel_left(self)

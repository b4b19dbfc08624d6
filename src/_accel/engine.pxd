cdef int _FAILED

cdef class Session:
    cdef readonly object owner
    cdef readonly str name
    cdef readonly bytes address
    cdef readonly bint single_use

cdef class Engine:
    cdef public int status
    cdef public int alert
    cdef public bint alert_received
    cdef public int reason
    cdef public long verify_result
    cdef public long messages

    # Handshake
    cpdef int handshake(self) except -1
    cpdef tuple info(self)
    cpdef tuple peer_chain(self)
    cpdef session(self)

    # Incoming
    cpdef feed(self, data)
    cpdef feed_part(self, bytearray buffer, Py_ssize_t size)
    cpdef bytes read(self, Py_ssize_t limit)

    # Outgoing
    cpdef expect(self, Py_ssize_t size)
    cpdef int write(self, data) except -1
    cpdef int write_part(self, data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t record) except -1
    cpdef bytes take(self)

    # The end
    cpdef int shutdown(self) except -1
    cpdef rest(self)
    cpdef close(self)


cdef class EngineContext:
    cpdef engine(self, str server_name, bytes address, Session session=*)
    cpdef staple(self, bytes response)

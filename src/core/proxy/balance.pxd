cimport cython

cdef class Server
cdef class ServerGroup

from .upstream cimport Upstream


cdef class Server:
    cdef public str name
    cdef public object address
    cdef public Py_ssize_t busy
    cdef public list idle
    cdef public double down_until

    cpdef Upstream take_idle(self, double since)


cdef class ServerGroup:
    cdef public object backend
    cdef public object limits
    cdef public list servers
    cdef Py_ssize_t _next

    @cython.locals(count=Py_ssize_t, step=Py_ssize_t, index=Py_ssize_t, after_best=Py_ssize_t, server=Server, best=Server, least_conn=bint)
    cpdef Server pick(self, list tried, double now)
    cpdef failed(self, Server server, double now)
    cpdef bint keep(self, Upstream upstream) except -1
    cpdef forget(self, Upstream upstream)

cimport cython

cdef class Server
cdef class ServerGroup

from .bounds cimport Bounds
from .channel cimport Channel
from .client cimport ClientChannel
from .upstream cimport Upstream


@cython.final
cdef class Server:
    cdef public str name
    cdef public object address
    cdef public bytes authority
    cdef public Py_ssize_t busy
    cdef public list idle
    cdef public list shared
    cdef public bint speaks_http_1
    cdef public double probe_at
    cdef public Py_ssize_t stream_limit
    cdef public double down_until
    cdef public object sessions


@cython.final
cdef class ServerGroup:
    cdef public object backend
    cdef public Py_ssize_t connections
    cdef public str name
    cdef public list servers
    cdef public bint multiplexed
    cdef public bint introduces
    cdef Bounds _bounds
    cdef bint _least_conn
    cdef Py_ssize_t _next
    cdef Py_ssize_t _idle

    @cython.locals(count=Py_ssize_t, step=Py_ssize_t, index=Py_ssize_t, after_best=Py_ssize_t, server=Server, best=Server)
    cpdef Server pick(self, list tried, double now)
    cpdef failed(self, Server server, double now)
    cpdef tries(self, Server server, double now)
    cpdef reached(self, Server server)
    cpdef declined_http_2(self, Server server, double now)
    @cython.locals(idle=list, own=Upstream, upstream=Upstream, at=Py_ssize_t)
    cpdef Upstream take_idle(self, Server server, double since, ClientChannel client)
    @cython.locals(upstream=Upstream)
    cdef Upstream _take_own(self, Server server, double since, ClientChannel client)
    @cython.locals(server=Server, upstream=Upstream)
    cpdef close_own(self, client)
    @cython.locals(upstream=Upstream)
    cpdef Upstream find_shared(self, Server server, bint fresh)
    @cython.locals(server=Server, owner=Channel)
    cpdef bint keep(self, Upstream upstream) except -1
    @cython.locals(count=Py_ssize_t, server=Server, upstream=Upstream)
    cpdef Py_ssize_t count_idle(self) except -1
    @cython.locals(server=Server, oldest=Upstream)
    cdef bint _close_oldest(self) except -1
    @cython.locals(idle=list)
    cpdef forget(self, Upstream upstream)

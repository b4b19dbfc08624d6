cimport cython

from ..http.headers cimport Headers
from ..tls.info cimport TLSInfo


cdef bytes _NOTHING


@cython.final
cdef class AccessRecord:
    cdef public str listener
    cdef public str client
    cdef public int client_port
    cdef public double started
    cdef public str tls_version
    cdef public str cipher
    cdef public str group
    cdef public str sni
    cdef public str alpn
    cdef public bint resumed
    cdef public object handshake_time
    cdef public str client_subject
    cdef public str client_sha256
    cdef public str ja4
    cdef public bytes method
    cdef public bytes authority
    cdef public bytes target
    cdef public bytes version
    cdef public str route
    cdef public str backend
    cdef public str server
    cdef public int attempts
    cdef public int status
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public object connect_time
    cdef public object first_byte_time
    cdef public double total_time
    cdef public str end
    cdef public str detail
    cdef bytes _received
    cdef bytes _referer
    cdef bytes _user_agent
    cdef dict _extra

    cdef _clear(self)
    @cython.locals(record=AccessRecord)
    cpdef AccessRecord begin(self, double now)
    cdef _blank(self)
    cpdef agreed(self, TLSInfo info)
    cpdef received(self, Headers headers)
    @cython.locals(block=bytes)
    cpdef Py_ssize_t head_size(self) except -1
    @cython.locals(block=bytes)
    cdef bytes _field(self, bytes name)


@cython.locals(record=AccessRecord)
cpdef AccessRecord new_record()

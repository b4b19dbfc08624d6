from ..events cimport Data, Request
from ..tls.hello cimport ClientHello
from .exchange cimport new_exchange
from .record cimport AccessRecord
from .relay cimport Relay
from .side cimport Side
from .upstream cimport Upstream


cdef class Passthrough(Relay):
    cpdef begin_to_pass(self)
    cdef upstream_ready(self, Side upstream)
    cdef response_data(self, Data event)

cimport cython

from ..events cimport Data
from ..tls.hello cimport ClientHello
from .exchange cimport new_exchange
from .record cimport AccessRecord
from .relay cimport Relay
from .side cimport Side
from .upstream cimport Upstream


@cython.final
cdef class Passthrough(Relay):
    cpdef begin_to_pass(self)
    cpdef upstream_ready(self, Side upstream)
    cpdef response_data(self, Data event)
    cpdef client_gone(self, str end, str detail)
    cpdef answer(self, answer, str end, str detail=*)

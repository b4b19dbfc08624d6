cimport cython

from .http.headers cimport Headers

cdef class Event:
    cpdef tuple _values(self)

cdef class Request(Event):
    cdef public bytes method
    cdef public bytes target
    cdef public bytes authority
    cdef public bytes sound_authority
    cdef public bytes sound_target
    cdef public Headers headers
    cdef public object body_length
    cdef public bytes scheme
    cdef public bytes upgrade
    cdef public bint expect_continue
    cdef public bytes version
    cdef public long long stream_id

cdef class Response(Event):
    cdef public int status
    cdef public Headers headers
    cdef public object body_length
    cdef public bytes reason
    cdef public bytes upgrade
    cdef public bytes version
    cdef public long long stream_id

cdef class InformationalResponse(Event):
    cdef public int status
    cdef public Headers headers
    cdef public bytes reason
    cdef public long long stream_id

cdef class Data(Event):
    cdef public object data
    cdef public long long stream_id

cdef class EndOfMessage(Event):
    cdef public Headers found
    cdef public long long stream_id

cdef class StreamReset(Event):
    cdef public long long stream_id
    cdef public long long code
    cdef public bint remote
    cdef public str message
    cdef public int status
    cdef public bytes method
    cdef public bytes target

cdef class ConnectionClosed(Event):
    cdef public bint clean

cdef class ClientHelloReceived(Event):
    cdef public object hello

cdef class HandshakeCompleted(Event):
    cdef public object info

cdef class DataReceived(Event):
    cdef public object data


@cython.locals(event=Data)
cpdef Data data_event(data)

@cython.locals(event=ClientHelloReceived)
cpdef ClientHelloReceived hello_event(hello)

@cython.locals(event=HandshakeCompleted)
cpdef HandshakeCompleted handshake_event(info)

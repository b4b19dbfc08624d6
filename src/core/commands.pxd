cdef class SendData:
    cdef public object channel

cdef class OpenUpstream:
    cdef public object channel
    cdef public object address

cdef class CloseConnection:
    cdef public object channel
    cdef public object how

cdef class PauseReading:
    cdef public object channel

cdef class ResumeReading:
    cdef public object channel

cdef class NeedCertificate:
    cdef public object channel
    cdef public object hello
    cdef public object identity
    cdef public object listener
    cdef public tuple peer

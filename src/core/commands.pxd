cdef class ChannelCommand:
    cdef public object channel

cdef class SendData(ChannelCommand):
    pass

cdef class OpenUpstream(ChannelCommand):
    cdef public object address

cdef class CloseConnection(ChannelCommand):
    cdef public object how

cdef class PauseReading(ChannelCommand):
    pass

cdef class ResumeReading(ChannelCommand):
    pass

cdef class NeedCertificate(ChannelCommand):
    cdef public object hello
    cdef public object identity
    cdef public object listener
    cdef public tuple peer

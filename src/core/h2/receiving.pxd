cimport cython

from ..buffer cimport ReceiveBuffer
from ..events cimport ConnectionClosed, Data, StreamReset
from .frames cimport FrameReader
from .heads cimport Heads
from .states cimport move
from .stream cimport Stream

cdef object NEED_DATA
cdef bytes PREFACE
cdef int _CLOSED, _HALF_CLOSED_REMOTE, _RECEIVE_DATA
cdef int ACK, CONTINUATION, DATA, END_STREAM, FORBIDDEN, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PRIORITY_UPDATE
cdef int PUSH_PROMISE, RST_STREAM, SETTINGS, UNKNOWN, WINDOW_UPDATE


cdef class Receiving(Heads):
    cdef Py_ssize_t _max_owed
    cdef bint _eof
    cdef bint _closed_reported
    cdef Py_ssize_t _preface_left
    cdef bint _in_data
    cdef Stream _data_stream
    cdef Py_ssize_t _data_left
    cdef Py_ssize_t _pad_left

    cpdef next_event(self)
    @cython.locals(buffer=ReceiveBuffer, frame=FrameReader, start=Py_ssize_t)
    cdef object _next(self)
    cdef _fail(self, error)
    cdef _stop(self, long long code)
    @cython.locals(stream=Stream)
    cdef object _end_of_file(self)

    # Frames
    @cython.locals(frame=FrameReader)
    cdef bint _begin_frame(self) except -1
    @cython.locals(buffer=ReceiveBuffer, done=Py_ssize_t, size=Py_ssize_t)
    cdef bint _read_preface(self) except -1
    @cython.locals(buffer=ReceiveBuffer, start=Py_ssize_t)
    cdef _judge_first(self)
    @cython.locals(frame=FrameReader, buffer=ReceiveBuffer, size=Py_ssize_t)
    cdef object _skip(self)
    @cython.locals(kind=int)
    cdef object _read_frame(self, Py_ssize_t start, Py_ssize_t length)

    # DATA
    @cython.locals(
        frame=FrameReader, buffer=ReceiveBuffer, stream=Stream, piece=bytes, data=Data, size=Py_ssize_t,
        is_wanted=bint,
    )
    cdef object _read_data(self)
    @cython.locals(stream=Stream)
    cdef _end_data(self)
    @cython.locals(
        frame=FrameReader, buffer=ReceiveBuffer, length=Py_ssize_t, padding=Py_ssize_t, size=Py_ssize_t, stream=Stream
    )
    cdef object _begin_data(self)
    cdef object _judge_data(self, Stream stream, Py_ssize_t length, Py_ssize_t size)

cimport cython

from ..events cimport InformationalResponse, Request, Response
from .control cimport Control, end_of_message
from .decoder cimport HeaderDecoder
from .frames cimport FrameReader
from .head cimport Head
from .messages cimport read_request, read_response, read_trailers
from .priority cimport parse_priority
from .states cimport move
from .stream cimport Stream, new_stream

cdef int _CLOSED, _HALF_CLOSED_REMOTE, _OPEN, _RECEIVE_HEADERS
cdef int DATA, DEFAULT_PRIORITY, END_HEADERS, END_STREAM, FORBIDDEN, PADDED, WITH_PRIORITY


cdef class Heads(Control):
    cdef bytes _scheme
    cdef long long _max_body
    cdef long long _max_target
    cdef long long _max_interim
    cdef long long _max_streams
    cdef long long _max_continuations
    cdef long long _max_section
    cdef long long _last_served
    cdef long long _ignored
    cdef bytearray _section
    cdef long long _section_id
    cdef bint _section_ended
    cdef bint _section_fault
    cdef long long _continuations
    cdef HeaderDecoder _decoder
    cdef Head _head

    @cython.locals(
        frame=FrameReader, flags=int, p="const unsigned char *", end=Py_ssize_t, padding=Py_ssize_t,
        stream_id="long long", ended=bint,
    )
    cdef _read_headers(self, Py_ssize_t start, Py_ssize_t length)
    @cython.locals(section=bytearray, stream_id="long long")
    cdef _read_continuation(self, Py_ssize_t start, Py_ssize_t length)
    @cython.locals(stream=Stream, is_new=bint, head=Head)
    cdef _read_section(self, long long stream_id, bytes section, bint ended)
    @cython.locals(decoder=HeaderDecoder, head=Head)
    cdef Head _decode(self, bytes section)
    @cython.locals(stream=Stream, request=Request)
    cdef _open(self, long long stream_id, Head head, bint ended)
    @cython.locals(found=Response)
    cdef _read_response(self, Stream stream, Head head, bint ended)
    cdef _end_request(self, Stream stream)
    cdef _read_trailers(self, Stream stream, Head head, bint ended)

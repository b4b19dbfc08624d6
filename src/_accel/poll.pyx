# cython: language_level=3str, boundscheck=False, wraparound=False
"""The native gear: one epoll set for all sockets of an adapter, read and written by system calls without the GIL.

`turn` waits for the set and tells those whose sockets are ready, a bounded batch at a time; level-triggered, so what is left
over comes again and nobody is starved. The set's own descriptor becomes readable when any of its sockets is ready: an outer
loop (asyncio, trio) watches only that one and calls `turn(0)`; a thread blocks in `turn`.

An event names its `Watched` by pointer. One that is taken out of the set in the middle of a batch may still have an event in
it, so those are kept alive until the batch is over; being told once too often does them no harm.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close

from .gear cimport Gear, Watched

import os

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data:
        void *ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int count, int timeout)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    int MSG_NOSIGNAL, MSG_DONTWAIT

cdef enum:
    BATCH = 128  # events taken at a time


cdef class _Entry:
    """A socket in the set."""
    cdef Watched watched


cdef class Poller(Gear):
    def __cinit__(self):
        self._epoll = -1

    def __init__(self):
        Gear.__init__(self, None)
        self._entries = {}
        self._retired = []
        self._busy = False
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)

    def fileno(self):
        """Readable when any socket of the set is ready."""
        return self._epoll

    def close(self):
        """Give the set back. The sockets are not closed."""
        if self._epoll >= 0:
            close(self._epoll)
            self._epoll = -1
        self._entries.clear()

    cpdef Py_ssize_t receive(self, sock, int fd, buffer) except? -32767:
        cdef ssize_t count
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        with nogil:
            count = recv(fd, view.buf, <size_t>view.len, MSG_DONTWAIT)
        PyBuffer_Release(&view)
        return count if count >= 0 else failure(errno)

    cpdef Py_ssize_t send(self, sock, int fd, data) except? -32767:
        cdef ssize_t count
        cdef const char *place
        cdef size_t size
        cdef Py_buffer view
        if type(data) is bytes:
            place = PyBytes_AS_STRING(data)
            size = <size_t>PyBytes_GET_SIZE(data)
            with nogil:
                count = send(fd, place, size, MSG_NOSIGNAL | MSG_DONTWAIT)
            return count if count >= 0 else failure(errno)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        place = <const char *>view.buf
        size = <size_t>view.len
        with nogil:
            count = send(fd, place, size, MSG_NOSIGNAL | MSG_DONTWAIT)
        PyBuffer_Release(&view)
        return count if count >= 0 else failure(errno)

    cpdef watch(self, Watched watched, sock, bint reading, bint writing):
        cdef int fd = sock.fileno()
        cdef epoll_event event
        cdef _Entry entry = self._entries.get(fd)
        event.events = (EPOLLIN if reading else 0) | (EPOLLOUT if writing else 0)
        event.data.ptr = <void *>watched
        if not (reading or writing):
            if entry is not None:
                del self._entries[fd]
                if self._busy:
                    self._retired.append(entry.watched)
                # ENOENT and EBADF: the kernel took it out when it was closed.
                epoll_ctl(self._epoll, EPOLL_CTL_DEL, fd, &event)
            return
        if entry is None:
            entry = _Entry.__new__(_Entry)
            self._entries[fd] = entry
            if epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, &event) < 0:
                del self._entries[fd]
                raise OSError(errno, os.strerror(errno))
        elif epoll_ctl(self._epoll, EPOLL_CTL_MOD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        if entry.watched is not None and entry.watched is not watched and self._busy:
            self._retired.append(entry.watched)
        entry.watched = watched

    cpdef int turn(self, double timeout) except -1:
        """Wait for at most `timeout` seconds (below 0: for ever), tell who is ready, and return how many there were."""
        cdef epoll_event events[BATCH]
        cdef int count, i
        cdef int wait = -1 if timeout < 0 else <int>(timeout * 1000 + 0.999)
        cdef uint32_t what
        cdef Watched watched
        if wait == 0:
            count = epoll_wait(self._epoll, events, BATCH, 0)
        else:
            with nogil:
                count = epoll_wait(self._epoll, events, BATCH, wait)
        if count < 0:
            if errno == EINTR:
                return 0
            raise OSError(errno, os.strerror(errno))
        self._busy = True
        try:
            for i in range(count):
                what = events[i].events
                watched = <Watched><PyObject *>events[i].data.ptr
                if what & EPOLLOUT:
                    watched.on_writable()
                if what & (EPOLLIN | EPOLLHUP | EPOLLERR):
                    watched.on_readable()
                    # An error while only writing is watched: the write finds it.
                    if not what & (EPOLLIN | EPOLLOUT):
                        watched.on_writable()
        finally:
            self._busy = False
            self._retired.clear()
        return count


cdef inline Py_ssize_t failure(int number) noexcept:
    if number == EINTR:
        return -EAGAIN
    return -number

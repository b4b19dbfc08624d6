# cython: language_level=3str, boundscheck=False, wraparound=False
"""The native gear: one epoll set for all sockets of an adapter, which are used by system calls.

`turn` waits for the set and tells those whose sockets are ready, a bounded batch at a time; level-triggered, so what is left
over comes again and nobody is starved. The set's own descriptor becomes readable when any of its sockets is ready: an outer
loop (asyncio, trio) watches only that one and calls `turn(0)`; a thread blocks in `turn`.

What the core wants done is done for some sockets of a batch together (`call_after`): the reading and thinking for one after
the other, then the sending. The same code then runs many times in a row, which processors reward: a send alone runs through
more instructions than the cache next to the processor holds. Not for all of a batch: the first would wait for the last.

The GIL is released to wait, and around what takes long (`LONG`). Around a short call that does not block it is kept: to release
it costs as much as a tenth of the call, and where another thread computes, each release would cost 5 ms until it is given back.
With several loops in one process it is released around every call, so that they run side by side.

Sockets that are opened here have no Python object: `Watched.sock` is None, `Watched.fd` is all there is.

An event names its `Watched` by pointer. Those in the set are kept alive by `_watching`. One that is taken out in the middle of
a batch may still have an event in it, so it is kept until the batch is over; being told once too often does it no harm.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, PyObject
from cpython.unicode cimport PyUnicode_AsUTF8, PyUnicode_DecodeASCII
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset, strlen
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from .gear cimport Gear, Watched

import os

cdef extern from "Python.h":
    # Declared again with plain pointers: a new bytes object is filled, and cut to size, before anyone sees it.
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t)
    char *content "PyBytes_AS_STRING"(PyObject *)
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t)
    ctypedef struct PyThreadState:
        pass
    PyThreadState *PyEval_SaveThread() nogil
    void PyEval_RestoreThread(PyThreadState *state) nogil

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
    ctypedef uint32_t socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        uint16_t ss_family
    cdef struct linger:
        int l_onoff, l_linger
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    int accept4(int fd, sockaddr *name, socklen_t *size, int flags)
    int socket(int family, int kind, int protocol)
    int connect(int fd, const sockaddr *name, socklen_t size)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
    int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
    int AF_INET, AF_INET6, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_ERROR, SO_LINGER, SHUT_WR
    int MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        pass
    cdef struct in6_addr:
        pass
    cdef struct sockaddr_in:
        uint16_t sin_family, sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t htons(uint16_t number)
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size)
    int inet_pton(int family, const char *text, void *address)

cdef enum:
    BATCH = 128  # events dealt with until others get their turn
    PART = 16  # of them, after which what they have led to is carried out: `gear.PART`
    BUSY = 4  # events at once that promise more
    TEXT = 48  # bytes of an address as text
    LONG = 32768  # bytes, from which on sending them is a long time

cdef int loops = 0  # with a set that is open
cdef tuple NOBODY = ("", 0)


cdef class Poller(Gear):
    def __cinit__(self):
        self._epoll = -1

    def __init__(self):
        Gear.__init__(self, None)
        self._watching = set()
        self._retired = []
        self._busy = False
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))
        global loops
        loops += 1

    def __dealloc__(self):
        self._close()

    def fileno(self):
        """Readable when any socket of the set is ready."""
        return self._epoll

    def close(self):
        """Give the set back. The sockets are not closed."""
        self._close()
        if self._busy:
            self._retired.extend(self._watching)
        self._watching.clear()

    cdef void _close(self) noexcept:
        global loops
        if self._epoll >= 0:
            close(self._epoll)
            self._epoll = -1
            loops -= 1

    cpdef double now(self) except? -1:
        cdef timespec time
        clock_gettime(CLOCK_MONOTONIC, &time)
        return <double>time.tv_sec + 1e-9 * <double>time.tv_nsec

    cpdef read_into(self, space):
        cdef Py_buffer view
        self._space = memoryview(space)  # as long as it is there, the memory stays where it is
        PyObject_GetBuffer(self._space, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self._place = view.buf
        self._size = <size_t>view.len
        PyBuffer_Release(&view)

    cpdef Py_ssize_t receive(self, Watched watched) except? -32767:
        cdef ssize_t count
        cdef PyThreadState *state = release(0)
        count = recv(watched.fd, self._place, self._size, MSG_DONTWAIT)
        restore(state)
        return count if count >= 0 else failure()

    cpdef Py_ssize_t receive_piece(self, Watched watched, Py_ssize_t size) except? -32767:
        cdef ssize_t count
        cdef int number
        cdef PyThreadState *state
        cdef PyObject *piece = new_bytes(NULL, size)
        if piece is NULL:
            raise MemoryError
        state = release(size)
        count = recv(watched.fd, content(piece), size, MSG_DONTWAIT)
        restore(state)
        number = errno
        if resize_bytes(&piece, count if count > 0 else 0) < 0:
            raise MemoryError
        self.piece = <bytes>piece
        Py_DECREF(self.piece)
        if count >= 0:
            return count
        return -EAGAIN if number == EINTR else -number

    cpdef Py_ssize_t send(self, Watched watched, data, bint more=False) except? -32767:
        cdef Py_buffer view
        cdef ssize_t count
        cdef int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (MSG_MORE if more else 0)
        if type(data) is bytes:
            return self._send(watched, PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data), flags)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        count = self._send(watched, <const char *>view.buf, <size_t>view.len, flags)
        PyBuffer_Release(&view)
        return count

    cdef Py_ssize_t _send(self, Watched watched, const char *place, size_t size, int flags) noexcept:
        cdef ssize_t count
        cdef PyThreadState *state = release(size)
        count = send(watched.fd, place, size, flags)
        restore(state)
        return count if count >= 0 else failure()

    cpdef watch(self, Watched watched, bint reading, bint writing):
        cdef epoll_event event
        cdef int events = (EPOLLIN if reading else 0) | (EPOLLOUT if writing else 0)
        if events == watched.events:
            return
        event.events = <uint32_t>events
        event.data.ptr = <void *>watched
        if not events:
            # ENOENT and EBADF: the kernel took it out when it was closed.
            epoll_ctl(self._epoll, EPOLL_CTL_DEL, watched.fd, &event)
            if self._busy:
                self._retired.append(watched)
            self._watching.discard(watched)
        elif watched.events:
            if epoll_ctl(self._epoll, EPOLL_CTL_MOD, watched.fd, &event) < 0:
                raise OSError(errno, os.strerror(errno))
        else:
            if epoll_ctl(self._epoll, EPOLL_CTL_ADD, watched.fd, &event) < 0:
                raise OSError(errno, os.strerror(errno))
            self._watching.add(watched)
        watched.events = events

    cpdef int accept(self, Watched listening) except? -32767:
        cdef sockaddr_storage name
        cdef socklen_t size = sizeof(name)
        cdef PyThreadState *state = release(0)
        cdef int fd = accept4(listening.fd, <sockaddr *>&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        restore(state)
        if fd < 0:
            return <int>failure()
        self.peer = name_of(&name)
        return fd

    cpdef bint connect(self, Watched watched, int family, address) except -1:
        cdef sockaddr_in name
        cdef PyThreadState *state
        cdef int fd, code, number
        cdef int on = 1
        memset(&name, 0, sizeof(name))
        if not fill_ipv4(&name, family, address):  # or for the portable gear to say what is wrong with it
            return Gear.connect(self, watched, family, address)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            raise OSError(errno, os.strerror(errno))
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        state = release(0)
        code = connect(fd, <sockaddr *>&name, sizeof(name))
        number = errno
        restore(state)
        if code < 0 and number != EINPROGRESS:
            close(fd)
            raise OSError(number, os.strerror(number))
        watched.fd = fd
        return code == 0

    cpdef int take_error(self, Watched watched) except? -32767:
        cdef int code = 0
        cdef socklen_t size = sizeof(code)
        if getsockopt(watched.fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0:
            return errno
        return code

    cpdef int finish(self, Watched watched) except? -32767:
        cdef PyThreadState *state = release(0)
        cdef int code = shutdown(watched.fd, SHUT_WR)
        restore(state)
        return code if code == 0 else -errno

    cpdef drop(self, Watched watched, bint reset):
        cdef PyThreadState *state
        cdef linger abort
        if watched.sock is not None:
            return Gear.drop(self, watched, reset)
        self.watch(watched, False, False)
        if reset:
            abort.l_onoff, abort.l_linger = 1, 0
            setsockopt(watched.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort))
        state = release(0)
        close(watched.fd)
        restore(state)
        watched.fd = -1

    cpdef int turn(self, double timeout) except -1:
        """Wait for at most `timeout` seconds (below 0: for ever), tell who is ready, and return how many there were."""
        cdef int count = self._round(-1 if timeout < 0 else <int>(timeout * 1000 + 0.999))
        cdef int total = count
        # While many were dealt with others have become ready, most likely: cheaper to look now than by way of the outer loop.
        while count >= BUSY and total < BATCH and self._epoll >= 0:
            count = self._round(0)
            total += count
        return total

    cdef int _round(self, int wait) except -1:
        cdef epoll_event events[BATCH]
        cdef int count, i
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
        if count == 0:
            return 0
        self._busy = True
        self.in_batch = self._after is not None
        try:
            for i in range(count):
                if i and not i % PART and self.in_batch:
                    self._after(False)
                what = events[i].events
                watched = <Watched><PyObject *>events[i].data.ptr
                if what & EPOLLOUT:
                    watched.on_writable()
                if what & (EPOLLIN | EPOLLHUP | EPOLLERR):
                    watched.on_readable()
                    # An error while only writing is watched: the write finds it.
                    if not what & (EPOLLIN | EPOLLOUT):
                        watched.on_writable()
            if self.in_batch:
                self.in_batch = False
                self._after(True)
        finally:
            self._busy = False
            self.in_batch = False
            while self._retired:
                self._retired.pop()
        return count


cdef inline PyThreadState *release(size_t size) noexcept:
    """Release the GIL, if that is called for around a system call that moves so many bytes."""
    return PyEval_SaveThread() if loops > 1 or size >= LONG else NULL


cdef inline void restore(PyThreadState *state) noexcept:
    """Take the GIL again, if it was released. `errno` stays as it is."""
    if state != NULL:
        PyEval_RestoreThread(state)


cdef inline Py_ssize_t failure() noexcept:
    return -EAGAIN if errno == EINTR else -errno


cdef tuple name_of(sockaddr_storage *name):
    """What `gear.peer_name` makes of it."""
    cdef char text[TEXT]
    cdef sockaddr_in *ipv4 = <sockaddr_in *>name
    cdef sockaddr_in6 *ipv6 = <sockaddr_in6 *>name
    if name.ss_family == AF_INET:
        return PyUnicode_DecodeASCII(text, ipv4_text(text, <unsigned char *>&ipv4.sin_addr), NULL), htons(ipv4.sin_port)
    if name.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &ipv6.sin6_addr, text, TEXT)
        return PyUnicode_DecodeASCII(text, <Py_ssize_t>strlen(text), NULL), htons(ipv6.sin6_port)
    return NOBODY


cdef Py_ssize_t ipv4_text(char *text, const unsigned char *address) noexcept:
    """Write an address as text, and return how long that is. `inet_ntop` does it with `sprintf`, for each connection."""
    cdef Py_ssize_t at = 0
    cdef int i, number
    for i in range(4):
        if i:
            text[at] = b"."
            at += 1
        number = address[i]
        if number >= 100:
            text[at] = <char>(48 + number // 100)
            at += 1
        if number >= 10:
            text[at] = <char>(48 + number // 10 % 10)
            at += 1
        text[at] = <char>(48 + number % 10)
        at += 1
    return at


cdef bint fill_ipv4(sockaddr_in *name, int family, address) except -1:
    """Whether `address` is (IPv4 address in digits, port)."""
    if family != AF_INET or type(address) is not tuple or type(address[0]) is not str or type(address[1]) is not int:
        return False
    if not 0 <= address[1] <= 65535:
        return False
    name.sin_family = <uint16_t>AF_INET
    name.sin_port = htons(<uint16_t><int>address[1])
    return inet_pton(AF_INET, PyUnicode_AsUTF8(address[0]), &name.sin_addr) == 1

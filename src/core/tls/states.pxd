cdef int HELLO, DECISION, HANDSHAKE, ENDED, BROKEN
cdef int HELLO_READ, CONTEXT_CHOSEN, HANDSHAKE_DONE, LOCAL_CLOSE, REMOTE_CLOSE, FAULT, FORBIDDEN
cdef tuple STATES
cdef int _INPUTS
cdef bytes _NEXT, _MAY_RECEIVE, _MAY_SEND

cpdef int move(int state, int what) except -1
cpdef bint may_receive(int state) except -1
cpdef bint may_send(int state) except -1

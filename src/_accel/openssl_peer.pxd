from .openssl cimport Functions

cdef tuple chain_of(Functions *calls, void *connection, bint verifies)

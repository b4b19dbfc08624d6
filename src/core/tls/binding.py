"""The one file that touches private names of cryptography and pyOpenSSL.

Both keep OpenSSL behind one cffi table, `cryptography.hazmat.bindings._rust._openssl`. That table is private and its unused
names are pruned, so every function is looked up by name together with the C type it must have; what is missing or different
is reported as LookupError and nothing is guessed. Two things need it even where pyOpenSSL does the cryptography: the list of
groups, and OpenSSL's own check of the server's name (pyOpenSSL has no public way to either).
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

NO_PARTIAL_WILDCARDS = 0x4
NEVER_CHECK_SUBJECT = 0x20
"""X509_CHECK_FLAG_*: `f*.example.com` never matches, and a common name is not a host name (RFC 9525)."""


def _table() -> tuple[Any, Any]:
    """The library and its ffi."""
    try:
        from cryptography.hazmat.bindings._rust import _openssl

        return _openssl.lib, _openssl.ffi
    except (ImportError, AttributeError) as error:
        raise LookupError("cryptography has no OpenSSL table") from error


def function(name: str, signature: str) -> Any:
    """The function `name`, if it is there and has the C type `signature` (as cffi writes it).

    Raises LookupError if not.
    """
    lib, ffi = _table()
    found = getattr(lib, name, None)
    if found is None:
        raise LookupError(f"OpenSSL function {name} is not there")
    actual = ffi.typeof(found).cname
    if actual != signature:
        raise LookupError(f"OpenSSL function {name} has another type: {actual}")
    return found


def addresses(signatures: dict[str, str]) -> dict[str, int]:
    """The addresses of functions, by name. Raises LookupError at the first one that does not fit."""
    found = {}
    for name, signature in signatures.items():
        function(name, signature)
        lib, ffi = _table()
        found[name] = int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
    return found


def context_pointer(context: SSL.Context) -> int:
    """The address of the SSL_CTX. It lives as long as `context`."""
    _, ffi = _table()
    return int(ffi.cast("uintptr_t", context._context))


def set_groups(context: SSL.Context, groups: str) -> bool:
    """Set the key exchange groups, colon-separated, best first. False if OpenSSL does not know one of them."""
    set_list = function("SSL_CTX_set1_curves_list", "long(*)(SSL_CTX *, char *)")
    accepted = bool(set_list(context._context, groups.encode("ascii")) == 1)
    if not accepted:
        function("ERR_clear_error", "void(*)()")()
    return accepted


NAME_CHECK = {
    "SSL_get0_param": "X509_VERIFY_PARAM *(*)(SSL *)",
    "X509_VERIFY_PARAM_set_hostflags": "void(*)(X509_VERIFY_PARAM *, unsigned int)",
    "X509_VERIFY_PARAM_set1_host": "int(*)(X509_VERIFY_PARAM *, char *, size_t)",
    "X509_VERIFY_PARAM_set1_ip": "int(*)(X509_VERIFY_PARAM *, unsigned char *, size_t)",
}
"""What OpenSSL's check of a server's name needs. Without all of it no client verifies, and so none is made."""


def expect_name(connection: SSL.Connection, name: str, address: bytes) -> bool:
    """Have the peer's certificate checked for a DNS name, or for an IP address if `address` is not empty."""
    get_parameters, set_flags, set_host, set_ip = (function(*item) for item in NAME_CHECK.items())
    parameters = get_parameters(connection._ssl)
    if address:
        return bool(set_ip(parameters, address, len(address)) == 1)
    set_flags(parameters, NO_PARTIAL_WILDCARDS | NEVER_CHECK_SUBJECT)
    encoded = name.encode("ascii")
    return bool(set_host(parameters, encoded, len(encoded)) == 1)


def session_reused(connection: SSL.Connection) -> bool:
    """Whether the handshake resumed a session."""
    return bool(function("SSL_session_reused", "int(*)(SSL *)")(connection._ssl) == 1)


def same_session(one: SSL.Session | None, other: SSL.Session | None) -> bool:
    """Whether both are the same SSL_SESSION."""
    if one is None or other is None:
        return one is other
    return bool(one._session == other._session)


def pending_reason() -> int:
    """The reason code of the error that OpenSSL is about to report, 0 if there is none."""
    error = function("ERR_peek_error", "unsigned long(*)()")()
    return int(function("ERR_GET_REASON", "int(*)(unsigned long)")(error)) if error else 0

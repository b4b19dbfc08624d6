"""What goes wrong in TLS, by number and by name.

A failure is told to two audiences. The peer gets an alert (RFC 8446 section 6, RFC 7301). Logs and metrics get a short
reason that stays the same from release to release: OpenSSL's reason code when it says more than the alert, the verdict on
the certificate when that was the fault, otherwise the name of the alert. Texts of OpenSSL are never looked at.
"""

from __future__ import annotations

from enum import IntEnum


class Alert(IntEnum):
    """Alert descriptions."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    DECRYPTION_FAILED = 21
    RECORD_OVERFLOW = 22
    DECOMPRESSION_FAILURE = 30
    HANDSHAKE_FAILURE = 40
    NO_CERTIFICATE = 41
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    EXPORT_RESTRICTION = 60
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    MISSING_EXTENSION = 109
    UNSUPPORTED_EXTENSION = 110
    CERTIFICATE_UNOBTAINABLE = 111
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    BAD_CERTIFICATE_HASH_VALUE = 114
    UNKNOWN_PSK_IDENTITY = 115
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120
    ECH_REQUIRED = 121


OPENSSL_REASONS = {
    101: "no_suitable_key_share",
    118: "no_suitable_signature_algorithm",
    193: "no_shared_cipher",
    199: "certificate_required",
    258: "unsupported_protocol",
    373: "inappropriate_fallback",
    376: "no_suitable_signature_algorithm",
    410: "no_shared_group",
}
"""OpenSSL's SSL_R_* codes that say more than the alert that goes with them."""

VERIFY_REASONS = {
    2: "certificate_unknown_issuer",
    3: "certificate_no_crl",
    7: "certificate_bad_signature",
    8: "certificate_bad_crl",
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    11: "certificate_bad_crl",
    12: "certificate_crl_expired",
    18: "certificate_self_signed",
    19: "certificate_unknown_issuer",
    20: "certificate_unknown_issuer",
    21: "certificate_unknown_issuer",
    22: "certificate_chain_too_long",
    23: "certificate_revoked",
    25: "certificate_chain_too_long",
    26: "certificate_wrong_purpose",
    33: "certificate_no_crl",
    62: "certificate_wrong_name",
    64: "certificate_wrong_name",
    79: "certificate_invalid_ca",
}
"""Verdicts of certificate verification (X509_V_ERR_*)."""


POISON = b"\x16\x03\x03\xff\xff" + bytes(16384 + 2048)
"""No valid record at any point of a stream: on a boundary its header is wrong, inside a record the tag will be. Larger than any
record that may come (RFC 8446 section 5.1, and 2048 that were allowed for compression)."""


def alert_name(alert: int) -> str:
    """The registered name of an alert, or `alert_<number>`."""
    try:
        return Alert(alert).name.lower()
    except ValueError:
        return f"alert_{alert}"


def reason_for(alert: int, received: bool, openssl_reason: int, verify_result: int) -> str:
    """The short reason of an engine's failure. 0 stands for a code that is not known; `alert` is -1 if there was none."""
    if not received:
        if verify_result:
            return VERIFY_REASONS.get(verify_result, "certificate_refused")
        if openssl_reason in OPENSSL_REASONS:
            return OPENSSL_REASONS[openssl_reason]
    return "engine_failed" if alert < 0 else alert_name(alert)


def alert_record(alert: int) -> bytes:
    """A fatal alert as a plaintext record, for failures before there is an engine (RFC 8446 section 5.1)."""
    return bytes((21, 3, 3, 0, 2, 2, alert))

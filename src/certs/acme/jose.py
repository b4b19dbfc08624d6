"""Signed requests: JSON Web Signature (RFC 7515) with ES256, as far as ACME uses it (RFC 8555 section 6.2).

An account is its key: whoever signs with it is the account. The key's *thumbprint* (RFC 7638) is what challenges are
answered with. A CA that knows its customers already is shown by an External Account Binding (RFC 8555 section 7.3.4),
a signature with a key that the CA gave out, that the account belongs to one of them.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec.json import encode

from ..issuing import private_pem

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_FIELD_BYTES = 32
"""Length of a coordinate of P-256, and of each half of a signature (RFC 7518 section 3.4)."""


def base64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """The opposite; padding may be there. ValueError for anything else than base64url."""
    bare = text.rstrip("=")
    if not _BASE64URL.fullmatch(bare) or len(bare) % 4 == 1:
        raise ValueError("not base64url")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def _signed(
    header: Mapping[str, Any], payload: Mapping[str, Any] | None, sign: Callable[[bytes], bytes]
) -> dict[str, str]:
    """A JWS in its flattened form (RFC 7515 section 7.2.2). `payload` None: there is none, which is not `{}`."""
    protected = base64url(encode(header))
    content = "" if payload is None else base64url(encode(payload))
    signature = base64url(sign(f"{protected}.{content}".encode("ascii")))
    return {"protected": protected, "payload": content, "signature": signature}


class AccountKey:
    """The P-256 key of an account."""

    __slots__ = ("_key", "jwk", "thumbprint")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("an account key is on the curve P-256")
        self._key = key
        point = key.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(_FIELD_BYTES, "big")) for number in (point.x, point.y))
        # RFC 7638 section 3.2: the required members, in this order
        self.jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        self.thumbprint = base64url(sha256(encode(self.jwk)).digest())

    def __repr__(self) -> str:
        return f"<AccountKey {self.thumbprint}>"

    @staticmethod
    def from_pem(pem: bytes) -> AccountKey:
        """ValueError if this is no P-256 key."""
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("not a private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("not an elliptic curve key")
        return AccountKey(key)

    def to_pem(self) -> bytes:
        """For the one who keeps it."""
        return private_pem(self._key)

    def sign(self, url: str, nonce: str, payload: Mapping[str, Any] | None, account_url: str) -> bytes:
        """The body of a POST to `url`. `payload` None: POST-as-GET (RFC 8555 section 6.3).

        `account_url` empty: the key itself is sent, which is for newAccount only.
        """
        header: dict[str, Any] = {"alg": "ES256", "nonce": nonce, "url": url}
        header |= {"kid": account_url} if account_url else {"jwk": self.jwk}
        return encode(_signed(header, payload, self._signature))

    def _signature(self, data: bytes) -> bytes:
        """ES256 (RFC 7518 section 3.4)."""
        numbers = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(_FIELD_BYTES, "big") for number in numbers)


class ExternalAccount:
    """What a CA gave out to bind an account to a customer of its: a key identifier and an HMAC key."""

    __slots__ = ("_mac_key", "key_id")

    def __init__(self, key_id: str, mac_key: bytes) -> None:
        self.key_id = key_id
        self._mac_key = mac_key

    def __repr__(self) -> str:
        return f"<ExternalAccount {self.key_id!r}>"

    def bind(self, key: AccountKey, url: str) -> dict[str, str]:
        """The field `externalAccountBinding` of the newAccount request to `url`: the account's key, signed with HS256."""
        header = {"alg": "HS256", "kid": self.key_id, "url": url}
        return _signed(header, key.jwk, lambda data: hmac.digest(self._mac_key, data, "sha256"))

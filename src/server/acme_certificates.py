"""A worker's side of ACME: what the renewer has written is what handshakes get.

Each `[[host]]` with `acme` is an identity of the policy, without a context until there is a certificate. Handshakes that need
one wait in `find` (`NeedCertificate`): for the certificate of such a host, for that of a name by `on_demand`, and with
`acme-tls/1`, for the proof that a CA came for. `refresh` puts the contexts of renewed certificates into the identities;
connections that there are keep what they have.

A client is kept waiting only while the renewer is at it, and never for long: after that its handshake is refused
(`internal_error`), since a certificate made up here would be refused by the client anyway, with a warning that people learn to
click away.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..certs.acme.names import is_host_name
from ..certs.acme.state import AcmeState, Stored
from ..certs.store import Certificate
from ..core.commands import NeedCertificate
from ..core.proxy.policy import Identity
from ..core.tls.context import TLSOptions, server_context
from ..core.tls.hello import ACME_TLS
from . import policy
from .check_acme import acme_state, demanded_host
from .client_rules import Rules, rule_of
from .config import Config, Host
from .problems import ConfigError
from .waiting_room import Answer, WaitingRoom

Make = Callable[[Host, Sequence[str], Certificate], Identity]
"""Makes the identity of a host for these names with a certificate. Raises `ConfigError`."""

REFRESH = 5.0
"""Seconds between two looks at the file of a certificate by `on_demand`."""
MARGIN = 1.0
"""Seconds of the handshake's time that are left for the handshake."""
MOST_ON_DEMAND = 10_000
"""Certificates by `on_demand` that are kept in memory."""


class AcmeCertificates:
    """See the module. `hosts`: the identities of the policy that are got by ACME, each with its table.

    Safe to call from several threads.
    """

    def __init__(
        self,
        hosts: Mapping[Identity, Host],
        on_demand: Sequence[Host],
        state: AcmeState,
        make: Make,
        *,
        room: WaitingRoom,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._on_demand = on_demand
        self._state = state
        self._make = make
        self._room = room
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._versions: dict[Identity, tuple[int, int, int]] = {}
        self._made: OrderedDict[str, tuple[Identity, float]] = OrderedDict()  # and when its file was last looked at

    def refresh(self) -> None:
        """Give each identity whose certificate is another one its new contexts. What nobody has asked for is not loaded."""
        for identity, host in self._hosts.items():
            if identity.context is not None:
                self._renew(identity, host)

    def find(self, need: NeedCertificate) -> Answer | Identity | None:
        """The answer to `NeedCertificate`, now, or later if the renewer is at it. From any thread."""
        name = need.hello.sni or ""
        if ACME_TLS in need.hello.alpn:
            return self._proof(name)
        if need.identity is not None:
            host = self._hosts.get(need.identity)
            return None if host is None else self._room.wait(host.names[0], partial(self._renew, need.identity, host))
        demanded = demanded_host(self._on_demand, name) if is_host_name(name) else None
        return None if demanded is None else self._room.wait(name, partial(self._demanded, name, demanded))

    def _renew(self, identity: Identity, host: Host) -> Identity | None:
        """The identity with the newest certificate that there is, None if there has never been any."""
        stored = self._state.certificate(host.names)
        if stored is not None:
            with self._lock:
                self._use(identity, host, stored)
        return None if identity.context is None else identity

    def _use(self, identity: Identity, host: Host, stored: Stored) -> None:
        """Put a certificate into an identity, unless it is there already."""
        if self._versions.get(identity) == stored.version:
            return
        self._versions[identity] = stored.version
        try:
            made = self._make(host, identity.names, stored.certificate)
        except ConfigError:
            return  # OpenSSL will not have it: whatever was there before is better
        # In this order: whoever looks in between gets an old one or a new one, and not none
        identity.http_1_context, identity.context = made.http_1_context, made.context

    def _demanded(self, name: str, host: Host) -> Identity | None:
        """The identity of a name by `on_demand`, if there is a certificate for it."""
        now = self._monotonic()
        with self._lock:
            identity, looked_at = self._made.get(name, (None, 0.0))
            if identity is None or now - looked_at >= REFRESH:
                stored = self._state.certificate([name])
                if stored is None:
                    return identity
                identity = identity or Identity((name,), None)
                self._use(identity, host, stored)
                if identity.context is None:
                    return None
                self._made[name] = identity, now
                while len(self._made) > MOST_ON_DEMAND:
                    self._versions.pop(self._made.popitem(last=False)[1][0], None)
            self._made.move_to_end(name)
            return identity

    def _proof(self, name: str) -> Identity | None:
        """The certificate that a CA wants to see (RFC 8737 section 3)."""
        pair = self._state.tls_alpn_01_certificate(name)
        if pair is None:
            return None
        options = TLSOptions(alpn=(ACME_TLS,), tickets=False)
        return Identity((name,), server_context([pair], options=options, session_id=b"acme-tls/1"))


def acme_certificates(
    config: Config,
    identities: Sequence[Identity],
    make_identity: Callable[[policy.Identity], Identity],
    rules: Rules,
) -> AcmeCertificates | None:
    """For the identities of `policy.acme_hosts`; None if nothing of the configuration is got by ACME.

    `make_identity` makes what is served. Raises `ConfigError`. `rules`: what the clients of each host have to show.
    """
    on_demand = [host for host in config.host if host.acme is not None and host.acme.on_demand]
    hosts = dict(zip(identities, policy.acme_hosts(config), strict=True))
    if not hosts and not on_demand:
        return None

    def make(host: Host, names: Sequence[str], certificate: Certificate) -> Identity:
        rule = rule_of(names[0], rules)
        return make_identity(policy.Identity(tuple(names), (certificate,), False, host.place, (), rule))

    state = AcmeState(acme_state(config))
    room = WaitingRoom(state, max(0.0, config.limits.handshake_timeout - MARGIN))
    return AcmeCertificates(hosts, on_demand, state, make, room=room)

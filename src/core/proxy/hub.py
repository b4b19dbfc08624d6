"""The hub of the proxy: connections, routing, upstream pool and deadlines as one sans-IO object per loop or thread.

`accept` makes a `Downstream`; its requests become `Relay`s, which take an `Upstream` from the pool or have one opened. All
of them speak to the adapter through the one queue of commands here, share the one clock (`now`, set at each entry) and the
one heap of timers, and are settled together at the end of each call (see `channel.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from ..commands import Command
from ..h1.bounds import H1Bounds
from ..limits import Limits, check_limits
from .balance import ServerGroup
from .bounds import Bounds
from .channel import Channel
from .downstream import Downstream
from .hooks import Hooks, checked
from .meter import Meter
from .policy import Backend, Listener, Policy
from .record import AccessRecord
from .timers import NEVER, Timers
from .upstream import Upstream

FORGET_COMMANDS = 64
"""How many commands are carried out before the list of them begins anew: an empty list costs memory to be asked for."""


class ReverseProxy:
    """A reverse proxy without I/O.

    Call `accept` for every new client connection and the methods of the `Channel` it returns for what happens on it;
    `channel.connected` / `channel.connect_failed` for what `OpenUpstream` led to. Before waiting again carry out
    `next_command()` until it returns None, and call `handle_timer(now)` when `get_timer()` is reached. Not thread-safe:
    one object for each loop or thread.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        limits: Limits | None = None,
        hooks: Hooks | None = None,
        challenges: Callable[[str], bytes | None] | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.policy = policy
        self.limits = Limits() if limits is None else limits
        check_limits(self.limits)
        self.bounds = Bounds(self.limits)
        self.h1_bounds = H1Bounds(self.limits)
        self.read_space = bytearray(self.limits.read_size)
        """Where everything is read into; `read_buffer` shows it to adapters."""
        self.read_buffer = memoryview(self.read_space)
        self.now = 0.0
        self.draining = False
        self.kept_total = 0
        """Bytes of bodies that are kept for being sent again (`relay.py`)."""
        self.timers = Timers()
        self.channels: set[Channel] = set()
        self.unsettled: Channel | None = None
        """The first of those whom the current call has touched; each knows the next."""
        self._gathering: Channel | None = None  # the first of those that settle when no command is left
        self._commands: list[Command | None] = []
        self._carried_out = 0  # of _commands
        self._gone: list[Channel] = []  # closed, and perhaps still in use by the current call
        self._clients = 0
        self._drain_until = 0.0
        self._groups: dict[Backend, ServerGroup] = {}
        self._grouped: dict[str, Backend] | None = None
        self._last_name: str | None = None
        self._last_group: ServerGroup | None = None  # the one of that name among the backends that were last asked for
        self._groups_by_name: dict[str, ServerGroup] = {}  # of `_grouped`, the backends that were last asked for
        self._hooks = Hooks() if hooks is None else checked(hooks)
        self.challenges = challenges
        """What a CA finds at `/.well-known/acme-challenge/TOKEN` on listeners without TLS (RFC 8555 section 8.3): is given the
        token, as it came, and returns the body; None lets the request go on like any other."""
        self.meter = meter
        """Counts what no access record is about."""
        # What does nothing is not worth a call.
        self.asks_hello = self._hooks.overrides("on_client_hello")
        self.asks_request = self._hooks.overrides("on_request")
        self.asks_response = self._hooks.overrides("on_response")
        self.asks_log = self._hooks.overrides("on_log")
        self.wants_ja4 = bool(self._hooks.wants_ja4)

    @property
    def hooks(self) -> Hooks:
        """The program's own logic. Another proxy for other hooks."""
        return self._hooks

    # -- what the adapter calls ------------------------------------------------------------------------------------

    def check_listener(self, listener: Listener) -> None:
        """TypeError for what is no listener. One with TLS may wait for a policy that has identities."""
        if not isinstance(listener, Listener):
            raise TypeError(f"clients come to a Listener, not to {type(listener).__name__}")

    def accept(self, listener: Listener, peer: tuple[str, int], now: float) -> Channel:
        """A client connected from `peer` (address without zone, port; `("", 0)` on a Unix socket).

        TypeError for what is no listener or no such place, and as long as there is no policy.
        """
        self.now = now
        if self.policy is None:
            raise TypeError("a proxy needs a policy before it can accept")
        self.check_listener(listener)
        if not isinstance(peer, tuple) or len(peer) < 2 or not isinstance(peer[0], str) or not isinstance(peer[1], int):
            raise TypeError(f"a client comes from (address, port), not from {peer!r}")
        channel = Downstream(self, listener, peer)
        self._clients += 1
        if self.draining or self._clients > self.bounds.max_connections:
            channel.refuse()
        self.settle()
        return channel

    def wants_local(self) -> bool:
        """Backends are told where clients have connected to: say it to each new channel (`Channel.arrived_at`)."""
        return self.policy is not None and self.policy.introduces

    def next_command(self, whole: bool = True) -> Command | None:
        """What to do next, or None.

        `whole`: an adapter that makes many calls, as for a batch of ready sockets, may say False on the way, until the last of
        them is made. Channels that gather what the calls bring (see `settle`) go on gathering then.
        """
        commands = self._commands
        at = self._carried_out
        if at == len(commands):
            if not whole:
                return None
            if self._gathering is not None:
                self._settle_gathered()
        if at == len(commands):
            if at >= FORGET_COMMANDS:
                commands.clear()
                self._carried_out = 0
            if self._gone:
                self._let_go()
            return None
        self._carried_out = at + 1
        command = commands[at]
        commands[at] = None
        return command

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called, in the clock of `now`; None if never."""
        when = self.deadline()
        return None if when == NEVER else when

    def deadline(self) -> float:
        """The same, with `NEVER` (infinity) for never."""
        when = self.timers.due()
        if self.draining and self.channels and self._drain_until < when:
            return self._drain_until
        return when

    def handle_timer(self, now: float) -> None:
        """Time has passed. Calling it early does no harm."""
        self.now = now
        self.timers.fire(now)
        if self.draining and now >= self._drain_until:
            self.cut_off(now)
        self.settle()

    def drain(self, now: float) -> None:
        """Stop: idle connections close now, new ones and others after their current request, all at the drain deadline."""
        self.now = now
        if not self.draining:
            self.draining = True
            self._drain_until = now + self.limits.drain_timeout
            for channel in list(self.channels):
                channel.drain()
        self.settle()

    def cut_off(self, now: float) -> None:
        """End at once: every connection is reset, and the log says what was under way."""
        self.now = now
        for channel in list(self.channels):
            channel.cut_off()
        self.settle()

    @property
    def drained(self) -> bool:
        """No connection is left."""
        return not self.channels

    # -- what the channels and relays call -------------------------------------------------------------------------

    def command(self, command: Command) -> None:
        """Ask the adapter for something."""
        self._commands.append(command)

    def settle(self) -> None:
        """Settle every channel that this call has touched, and those that settling touches.

        A multiplexed one waits until the adapter has made all its calls and asks what to do: then what the calls of a batch
        have given its streams leaves in as few records as it needs.
        """
        while self.unsettled is not None:
            channel = self.unsettled
            self.unsettled = channel.next_unsettled
            if channel.multiplexed:
                channel.next_unsettled = self._gathering
                self._gathering = channel
            else:
                channel.next_unsettled = None
                channel.settle()

    def forget(self, channel: Channel) -> None:
        """The channel is closed."""
        self.channels.discard(channel)
        self._gone.append(channel)
        if isinstance(channel, Downstream):
            self._clients -= 1
        elif isinstance(channel, Upstream):
            channel.group.forget(channel)
            channel.group.connections -= 1

    def group(self, policy: Policy, name: str) -> ServerGroup | None:
        """The servers of a backend, or None if there is no such backend."""
        if policy.backends is not self._grouped:
            self._grouped = policy.backends
            self._groups_by_name = {}
            self._last_name = None
        elif name is self._last_name:
            return self._last_group
        known = self._groups_by_name.get(name)
        if known is not None:
            self._last_name = name
            self._last_group = known
            return known
        backend = policy.backends.get(name)
        if backend is None:
            return None
        group = self._groups.get(backend)
        if group is None:
            group = self._groups[backend] = ServerGroup(backend, self.bounds)
        self._groups_by_name[name] = group
        return group

    def connections_by_backend(self) -> dict[str, tuple[int, int]]:
        """Connections to the servers of each backend that was used: (all, those without a request). From any thread."""
        found: dict[str, tuple[int, int]] = {}
        for group in list(self._groups.values()):
            total, idle = found.get(group.name, (0, 0))
            found[group.name] = (total + group.connections, idle + group.count_idle())
        return found

    def log(self, record: AccessRecord) -> None:
        """A request is over."""
        if not record.total_time:
            record.total_time = self.now - record.started
        if not self.asks_log:
            return
        try:
            self._hooks.on_log(record)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # The answer has been given; a log that fails must not fail the next request too.
            return

    # -- own -------------------------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Nobody is in the middle of anything: closed channels forget those who know them, so that all of them, and above all
        OpenSSL's part of them, is freed now and not when Python's cyclic collector comes by."""
        while self._gone:
            channel = self._gone.pop()
            channel.let_go()

    def _settle_gathered(self) -> None:
        """Settle the multiplexed channels, and those whom that touches."""
        while self._gathering is not None:
            channel = self._gathering
            self._gathering = channel.next_unsettled
            channel.next_unsettled = None
            try:
                channel.settle()
            except BaseException:
                channel.fail()  # nobody else would know whom to blame for a bug in here
                raise
            self.settle()

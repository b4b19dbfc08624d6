"""Where a program puts its own logic into the proxy.

Subclass `Hooks`, override what you need, give it to `ReverseProxy`. A hook runs between two events of one connection, so
it must not block. It fails closed: an exception in `on_client_hello` ends the handshake, one in `on_request` or `on_response`
answers the client with 500 and the request goes no further.

What is not overridden is never called: which hooks those are is found out once, when the proxy is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, Generic, TypeVar, cast

from ..events import Request, Response
from ..http.headers import Headers
from ..tls.failure import Alert
from .exchange import Exchange
from .facts import ClientHelloFacts
from .record import AccessRecord

__all__ = ["Alert", "Answer", "ClientHelloFacts", "Exchange", "Hooks", "Refuse", "ServeAs"]


@dataclass(slots=True)
class Answer:
    """An answer that lockgate gives itself: a final status (200 to 599) and the whole body.

    `content-length` is added; so are, where there is none, a body from 400 on, and `retry-after` with 429 and 503.
    """

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=Headers)


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the handshake with this fatal alert (RFC 8446 section 6.2)."""

    alert: int = Alert.ACCESS_DENIED


@dataclass(frozen=True, slots=True)
class ServeAs:
    """Serve the connection as if the client had asked for this name: with its certificate, and for its hosts only. Or pass it
    on, if the name is one that is passed on undecrypted.

    A request for a host of another identity is misdirected (421), the one of the name that the client did ask for too. A
    name that no certificate is for is a mistake of the hook.
    """

    name: str


Function = TypeVar("Function", bound=Callable[..., Any])


class _NotOverridden(Generic[Function]):
    """A hook of the base class. A proxy that does not call it would not see one that is put in its place later either, so
    that is refused; a method of a subclass takes the place of this whole object."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, hooks: object, owner: type) -> object:
        return self.function if hooks is None else MethodType(self.function, hooks)

    def __set__(self, hooks: object, value: object) -> None:
        raise AttributeError(f"{self.function.__name__} can be overridden in a class only")


def _hook(function: Function) -> Function:
    return cast(Function, _NotOverridden(function))


class Hooks:
    """Does nothing; override what you need."""

    __slots__ = ()

    wants_ja4: bool = False
    """Have the JA4 fingerprint of each client, as `exchange.ja4` and `record.ja4`. Set it to True in a subclass."""

    @_hook
    def on_client_hello(self, hello: ClientHelloFacts) -> Refuse | ServeAs | None:
        """A client has begun a handshake; no certificate is chosen yet. None: go on, with the name that it asks for."""

    @_hook
    def on_request(self, exchange: Exchange) -> Answer | None:
        """The head of a request has arrived. Return an `Answer` to give it instead of asking the backend.

        Called for requests without a route too (`exchange.route` is None): set `exchange.backend`, answer, or leave it 404.
        """

    @_hook
    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        """The backend's head has arrived; edit `response.headers`, or return an `Answer` to give instead of it."""

    @_hook
    def on_log(self, record: AccessRecord) -> None:
        """The request is over. Exceptions here are ignored: the answer has been given."""

    def overrides(self, name: str) -> bool:
        """Whether the hook of that name does anything, as far as its class tells. Hooks that call others' say so for them."""
        for kind in type(self).__mro__:
            if name in vars(kind):
                return not isinstance(vars(kind)[name], _NotOverridden)
        raise AttributeError(name)


_BARE = (204, 304)
"""Statuses of answers without content."""

NAMES = ("on_client_hello", "on_request", "on_response", "on_log")


def checked(hooks: Hooks) -> Hooks:
    """`hooks`, if a proxy can ask them.

    TypeError for what is no object of a subclass, and for a hook that is a coroutine function: nobody could wait for it.
    """
    if not isinstance(hooks, Hooks):
        what = f"the class {hooks.__name__}" if isinstance(hooks, type) else f"of {type(hooks).__name__}"
        raise TypeError(f"hooks are an object of a subclass of Hooks, not {what}")
    for name in NAMES:
        if inspect.iscoroutinefunction(getattr(hooks, name)):
            raise TypeError(
                f"{type(hooks).__name__}.{name} is a coroutine function; hooks cannot wait, so write it with def"
            )
    return hooks


def ask(name: str, hooks: Hooks, exchange: Exchange, *more: object) -> tuple[Answer | None, str]:
    """(what a hook that may answer a request has returned, why that request fails).

    Whatever it does to the exchange, there is a request in it afterwards, with fields, and with the body that it came with.
    It stays one for HEAD, or one for something else: the client knows by that where the answer ends (RFC 9112 section 6.3).
    """
    request = exchange.request
    method = request.method
    headers = request.headers
    length = request.body_length
    fault = ""
    answer = None
    try:
        answer = getattr(hooks, name)(exchange, *more)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # asyncio's CancelledError too, or a panic of a library in Rust
        fault = f"{name} raised {type(error).__name__}"
    if answer is not None and (wrong := fault_of(answer)):
        fault = f"{name} returned {wrong}"
    if not isinstance(exchange.request, Request):
        exchange.request = request
        fault = fault or f"{name} took the request away"
    if not isinstance(exchange.request.headers, Headers):
        exchange.request.headers = headers
        fault = fault or f"{name} took the fields of the request away"
    if (exchange.request.method == b"HEAD") != (method == b"HEAD"):
        exchange.request.method = method
        fault = fault or f"{name} changed the method from HEAD or to it"
    exchange.request.body_length = length  # as it came: what of the body is still to come is read and written by that
    return answer, fault


def fault_of_status(before: int, response: Response, method: bytes) -> str:
    """What is wrong with the status that `on_response` has put in the place of `before`, empty if nothing is: 204 and 304 have
    no content, and where there is none, nothing else can announce it (RFC 9110 section 8.6)."""
    status = response.status
    if status in _BARE:
        unfit = response.body_length != 0
    elif before in _BARE and method != b"HEAD" and isinstance(response.headers, Headers):
        unfit = (response.headers.get(b"content-length") or b"").strip(b"0") != b""
    else:
        unfit = False
    return f"on_response made {status} of {before}, whose content does not fit" if unfit else ""


def fault_of(answer: object) -> str:
    """What is wrong with what a hook has returned as its `Answer`, empty if nothing is. A writer judges its fields."""
    if not isinstance(answer, Answer):
        return f"{type(answer).__name__}, not an Answer or None"
    if not isinstance(answer.status, int):
        return f"an Answer whose status is {type(answer.status).__name__}, not int"
    if not 200 <= answer.status <= 599:
        return f"an Answer whose status is {answer.status}, which is not between 200 and 599"
    if not isinstance(answer.body, bytes | bytearray | memoryview):
        return f"an Answer whose body is {type(answer.body).__name__}, not bytes"
    if not isinstance(answer.headers, Headers):
        return f"an Answer whose headers are {type(answer.headers).__name__}, not Headers"
    return ""

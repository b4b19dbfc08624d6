"""TLS in front of a plain server, in a loop that offers `Driver` one method: python driver_proxy.py CERT KEY HOST:PORT PORT"""

import socket
import sys
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

from lockgate import Backend, Listener, Policy, ReverseProxy, Route, load_identity
from lockgate.adapters.driver import Callback, Driver

selector = DefaultSelector()


class Loop(Driver):
    def watch(self, fd: int, read: Callback | None, write: Callback | None) -> None:
        if fd in selector.get_map():
            selector.unregister(fd)
        if events := (EVENT_READ if read else 0) | (EVENT_WRITE if write else 0):
            selector.register(fd, events, {EVENT_READ: read, EVENT_WRITE: write})


*files, backend, port = sys.argv[1:]
policy = Policy.build(identities=[load_identity(*files)], backends=[Backend("app", (backend,))], routes=[Route("app")])
loop = Loop(ReverseProxy(policy))
loop.listen([(Listener("https"), socket.create_server(("127.0.0.1", int(port))))])
while True:
    for ready, events in selector.select(loop.timeout()):
        for callback in [ready.data[event] for event in (EVENT_READ, EVENT_WRITE) if event & events]:
            callback()
    loop.tick()

"""The core alone: no socket, no clock, no thread. Bytes and time go in, commands come out. python bare_core.py"""

from lockgate import Backend, Listener, Policy, ReverseProxy, Route
from lockgate.core.commands import OpenUpstream, SendData
from lockgate.core.proxy.channel import Channel

policy = Policy.build(backends=[Backend("app", ("192.0.2.10:80",))], routes=[Route("app")])
proxy = ReverseProxy(policy)


def carry_out() -> None:
    """What an adapter does with sockets."""
    while (command := proxy.next_command()) is not None:
        print(type(command).__name__, "for", type(command.channel).__name__)
        if isinstance(command, OpenUpstream):
            server.append(command.channel)
        elif isinstance(command, SendData):
            while data := bytes(command.channel.data_to_send()):
                print("   ", data)
                command.channel.data_sent(len(data), now=0.0)


server: list[Channel] = []
client = proxy.accept(Listener("plain", tls=False), ("192.0.2.1", 40000), now=0.0)
client.receive_data(b"GET /hello HTTP/1.1\r\nHost: example.com\r\n\r\n", now=0.0)
carry_out()
server[0].connected(now=0.0)
carry_out()
server[0].receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", now=0.0)
carry_out()

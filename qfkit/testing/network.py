"""The one place where this process's way to the network is bent, for `intercept` and `guard` alike.

Both look at the same calls: a name is looked up, a socket is connected. Two sets of patches would depend on the order
in which they are put on and taken off, so there is one, with a place for a router (which hosts lead elsewhere) and one
for a watch (which may not be reached). It is put on when the first of them comes, and off when the last has gone.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol
from unittest.mock import patch


class Router(Protocol):
    """Who sends some hosts elsewhere."""

    def address(self, host: str) -> str | None:
        """What ``host`` resolves to, None where it is none of theirs."""
        ...

    def door(self, host: str, port: int) -> tuple[str, int] | None:
        """Where a connection to ``host``, a name or what `address` gave for one, goes; None where it is not theirs.

        Raises:
            ConnectionRefusedError: nobody listens on such a port.
        """
        ...


class Watch(Protocol):
    """Who is asked before anything leaves, and raises what stops it."""

    def lookup(self, host: str, port: Any, how: str) -> None:
        """``host`` is about to be resolved."""
        ...

    def resolved(self, host: str, addresses: list[str]) -> None:
        """``host``, which was let through, has these addresses."""
        ...

    def connect(self, host: str, port: int | None, how: str) -> None:
        """A packet is about to go to ``host``, mostly an address; without port, to whoever knows the name of it."""
        ...


class _Network:
    """Router, watch and the patches that ask them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patches = ExitStack()
        self._threads = threading.local()
        self.router: Router | None = None
        self.watch: Watch | None = None

    @property
    def straight(self) -> bool:
        """Whether this thread is `past` all of it."""
        return getattr(self._threads, "straight", False)

    @contextmanager
    def past(self) -> Iterator[None]:
        """Let this thread go straight to where it wants, until the block ends: for those who stand behind a door."""
        self._threads.straight = True
        try:
            yield
        finally:
            self._threads.straight = False

    def _asked(self) -> tuple[Router | None, Watch | None]:
        return (None, None) if self.straight else (self.router, self.watch)

    @contextmanager
    def place(self, role: str, holder: Router | Watch, taken: str) -> Iterator[None]:
        """Let ``holder`` be the ``role`` (router, watch) until the block ends.

        Raises:
            RuntimeError: another one is it; ``taken`` says what to do.
        """
        with self._lock:
            if getattr(self, role) is not None:
                raise RuntimeError(taken)
            if self.router is None and self.watch is None:
                self._put_on()
            setattr(self, role, holder)
        try:
            yield
        finally:
            with self._lock:
                setattr(self, role, None)
                if self.router is None and self.watch is None:
                    self._patches.close()

    def _put_on(self) -> None:
        with ExitStack() as stack:
            for owner, name, made in self._table():
                stack.enter_context(patch.object(owner, name, made(getattr(owner, name))))
            self._patches = stack.pop_all()

    def _table(self) -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
        yield socket, "getaddrinfo", self._getaddrinfo
        yield socket, "gethostbyname", self._gethostbyname
        yield socket, "gethostbyname_ex", self._gethostbyname_ex
        yield socket, "gethostbyaddr", self._gethostbyaddr  # getfqdn asks it
        yield socket, "getnameinfo", self._getnameinfo
        yield socket.socket, "connect", self._connect
        yield socket.socket, "connect_ex", self._connect
        yield socket.socket, "sendto", self._sendto
        if hasattr(socket.socket, "sendmsg"):  # not on Windows
            yield socket.socket, "sendmsg", self._sendmsg
        if (uvloop := sys.modules.get("uvloop")) is not None:  # it resolves and connects in C
            yield uvloop.Loop, "getaddrinfo", self._loop_getaddrinfo
            yield uvloop.Loop, "create_connection", self._loop_create_connection

    # What a name leads to

    def _resolve(self, host: Any, port: Any, how: str) -> tuple[Any, str | None]:
        """What to look up instead of ``host``; and its name, where the watch is to be told the addresses."""
        (router, watch), name = self._asked(), spelled(host)
        if name is None:
            return host, None
        if router is not None and (address := router.address(name)) is not None:
            return address, None
        if watch is not None:
            watch.lookup(name, port, how)
            return host, name
        return host, None

    def _told(self, name: str | None, addresses: list[str]) -> None:
        watch = self.watch
        if watch is not None and name is not None:
            watch.resolved(name, addresses)

    def _aim(self, address: Any, how: str) -> Any:
        """Where a packet for ``address`` goes."""
        router, watch = self._asked()
        if not isinstance(address, tuple) or len(address) < 2 or (name := spelled(address[0])) is None:
            return address  # a Unix socket, or nothing that the socket will take
        if router is not None and (door := router.door(name, address[1])) is not None:
            return door
        if watch is not None:
            watch.connect(name, address[1], how)
        return address

    # The patches: each is made of the function that it stands for.

    def _getaddrinfo(self, real: Any) -> Any:
        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            host, name = self._resolve(host, port, "getaddrinfo")
            found = real(host, port, *args, **kwargs)
            self._told(name, [entry[4][0] for entry in found])
            return found

        return getaddrinfo

    def _gethostbyname(self, real: Any) -> Any:
        def gethostbyname(host: Any) -> Any:
            host, name = self._resolve(host, None, "gethostbyname")
            found = real(host)
            self._told(name, [found])
            return found

        return gethostbyname

    def _gethostbyname_ex(self, real: Any) -> Any:
        def gethostbyname_ex(host: Any) -> Any:
            host, name = self._resolve(host, None, "gethostbyname_ex")
            found = real(host)
            self._told(name, found[2])
            return found

        return gethostbyname_ex

    def _gethostbyaddr(self, real: Any) -> Any:
        def gethostbyaddr(host: Any) -> Any:
            self._ask_who(host, "gethostbyaddr")
            return real(host)

        return gethostbyaddr

    def _getnameinfo(self, real: Any) -> Any:
        def getnameinfo(address: Any, flags: int) -> Any:
            if not flags & socket.NI_NUMERICHOST and isinstance(address, tuple) and address:
                self._ask_who(address[0], "getnameinfo")
            return real(address, flags)

        return getnameinfo

    def _ask_who(self, host: Any, how: str) -> None:
        """The name of an address is about to be looked up."""
        if (watch := self._asked()[1]) is not None and (name := spelled(host)) is not None:
            watch.connect(name, None, how)

    def _connect(self, real: Any) -> Any:
        def connect(sock: socket.socket, address: Any) -> Any:
            if _is_ip(sock):
                try:
                    address = self._aim(address, real.__name__)
                except BaseException:
                    sock.close()  # socket.create_connection closes it after an OSError only
                    raise
            return real(sock, address)

        return connect

    def _sendto(self, real: Any) -> Any:
        def sendto(sock: socket.socket, data: Any, *rest: Any) -> Any:
            if rest and _is_ip(sock):
                rest = (*rest[:-1], self._aim(rest[-1], "sendto"))
            return real(sock, data, *rest)

        return sendto

    def _sendmsg(self, real: Any) -> Any:
        def sendmsg(sock: socket.socket, buffers: Any, *rest: Any) -> Any:
            if len(rest) == 3 and rest[2] is not None and _is_ip(sock):  # ancillary data, flags, address
                rest = (*rest[:2], self._aim(rest[2], "sendmsg"))
            return real(sock, buffers, *rest)

        return sendmsg

    def _loop_getaddrinfo(self, real: Any) -> Any:
        async def getaddrinfo(loop: Any, host: Any, port: Any, **kwargs: Any) -> Any:
            host, name = self._resolve(host, port, "getaddrinfo")
            found = await real(loop, host, port, **kwargs)
            self._told(name, [entry[4][0] for entry in found])
            return found

        return getaddrinfo

    def _loop_create_connection(self, real: Any) -> Any:
        async def create_connection(loop: Any, factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
            if host is not None:
                name = host
                host, port = self._aim((host, port), "create_connection")[:2]
                if host != name and kwargs.get("ssl") and kwargs.get("server_hostname") is None:
                    kwargs["server_hostname"] = name  # the certificate is for the name that was asked for
            return await real(loop, factory, host, port, **kwargs)

        return create_connection


NETWORK = _Network()


def _is_ip(sock: socket.socket) -> bool:
    return sock.family in {socket.AF_INET, socket.AF_INET6}


def spelled(host: Any) -> str | None:
    """A host as one spells it; None where there is none to speak of."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    return host.rstrip(".").lower() if isinstance(host, str) and host else None

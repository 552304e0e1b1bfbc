"""Tests that may not leave this machine.

Names are not looked up and sockets not connected beyond loopback; what tries is told so with the line of the test that
asked for it. Unix sockets, loopback and the hosts of an interception are free.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Any

from qfkit.testing.network import NETWORK

_TAKEN = (
    "the network is guarded already: ask for qianfan_guard once a test, and give all that may be reached to its "
    "allow= (with --qianfan-guard, every test that uses a fixture of qfkit is guarded)"
)

#: Where frames are nobody's who asks: the standard library, installed packages, and this one.
_LIBRARIES = tuple({*sysconfig.get_paths().values(), str(Path(__file__).parent)})


#: How often a running test's stack is looked at, until one look shows it whole.
_LOOKS = 50


class NetworkForbidden(BaseException):  # an Exception would be taken for a broken network, and be retried or swallowed
    """A guarded test tried to reach the outside.

    Attributes:
        host, port: what was asked for; the port is None where only a name was looked up.
        asked_at: the line that asked, as ``file:line in function: code``.
    """

    def __init__(self, host: str, port: Any, how: str, asked_at: str) -> None:
        self.host, self.port, self.asked_at = host, port, asked_at
        where = host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        to_the_mock = "send the client to the mock, with the fixture qianfan_env"
        if host.endswith("baidubce.com"):
            to_the_mock += ", or qianfan_intercept where the host is written into the code"
        super().__init__(
            f"a guarded test stays on this machine, and this one tried to reach {where} ({how})\n"
            f"  asked at: {asked_at}\n"
            f"  How to fix: {to_the_mock};\n"
            f'  or let it through: @pytest.mark.qianfan(allow=["{host}"])'
        )


class Guard:
    """Who is asked before something leaves.

    Args:
        allow: what may be reached all the same: names (``*`` stands for anything), addresses, networks
            (``10.0.0.0/8``), each with ``:port`` where only that is meant (an IPv6 address in brackets then).
        path: the test's file, whose lines are the ones to name; None for any that is no library's.

    Attributes:
        refused: what was stopped, in order.
    """

    def __init__(self, allow: Iterable[str] = (), path: str | None = None) -> None:
        if isinstance(allow, str):
            raise TypeError(f"allow is a list of hosts, such as [{allow!r}]; got the text {allow!r}")
        self._allow = [_split(entry) for entry in allow]
        self._path = path
        self._thread = threading.get_ident()
        self._own = {"localhost", "localhost.localdomain", "ip6-localhost", socket.gethostname().lower()}
        self._known: set[tuple[str, str | None]] = set()
        self.refused: list[NetworkForbidden] = []

    def lookup(self, host: str, port: Any, how: str) -> None:
        """Let names of this machine and of ``allow`` be resolved; addresses are no names.

        Raises:
            NetworkForbidden: it is another's.
        """
        own = host in self._own or host.endswith(".localhost")
        if not own and _address(host) is None and not self._allowed(host, port):
            self._refuse(host, port, how)

    def resolved(self, host: str, addresses: list[str]) -> None:
        """The addresses of a name that is allowed are allowed, on the same ports."""
        ports = {port for pattern, port in self._allow if fnmatchcase(host, pattern)}
        self._known.update((address, port) for address in addresses for port in ports)

    def connect(self, host: str, port: int | None, how: str) -> None:
        """Let loopback and ``allow`` be reached; without port, let its name be looked up.

        Raises:
            NetworkForbidden: it is elsewhere.
        """
        address = _address(host)
        if address is None:
            self.lookup(host, port, how)
            return
        known = bool({(host, None), (host, str(port))} & self._known)
        if not _is_here(address) and not known and not self._allowed(host, port):
            self._refuse(host, port, how)

    def _allowed(self, host: str, port: Any) -> bool:
        return any(_fits(host, pattern) and only in {None, str(port)} for pattern, only in self._allow)

    def _refuse(self, host: str, port: Any, how: str) -> None:
        error = NetworkForbidden(host, port, how, self._asked_at(sys._getframe(1)))  # the stack is the point
        self.refused.append(error)
        raise error

    def _asked_at(self, frame: FrameType) -> str:
        """The test's line that asked; else, of a thread or a task that has no line of the test, where the test is."""
        if (line := self._line_of(frame)) is not None:
            return line
        own = next((one for one in _outwards(frame) if not one.f_code.co_filename.startswith(_LIBRARIES)), None)
        asker = _describe(own) if own is not None else f"a library, in thread {threading.current_thread().name!r}"
        at = self._line_of_the_test()
        return asker if at is None else f"{asker}, while the test was at {at}"

    def _line_of_the_test(self) -> str | None:
        # The test runs on while its stack is walked: a coroutine that ends meanwhile is cut off from its caller, and
        # the walk ends short of the test. That is rare, so looking again finds it.
        for _ in range(_LOOKS):
            frame = sys._current_frames().get(self._thread)
            if frame is None:  # its thread has ended
                return None
            if (line := self._line_of(frame)) is not None:
                return line
        return None

    def _line_of(self, frame: FrameType) -> str | None:
        for one in _outwards(frame):
            name = one.f_code.co_filename
            if name == self._path or (self._path is None and not name.startswith((*_LIBRARIES, "<"))):
                return _describe(one)
        return None


@contextmanager
def guard(allow: Iterable[str] = (), *, path: str | None = None) -> Iterator[Guard]:
    """Keep this process on its machine until the block ends; see `Guard` for the arguments.

    Raises:
        NetworkForbidden: in whoever tries to leave.
        RuntimeError: a guard is on already.
    """
    watch = Guard(allow, path)
    with NETWORK.place("watch", watch, _TAKEN):
        yield watch


def _split(entry: str) -> tuple[str, str | None]:
    """Host pattern, and the port where one is named."""
    host, colon, port = entry.lower().rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), port
    return entry.lower().strip("[]"), None


def _fits(host: str, pattern: str) -> bool:
    if fnmatchcase(host, pattern):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:  # one of them is a name
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_here(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    return bool(plain.is_loopback or plain.is_unspecified)  # a connection to 0.0.0.0 is one to this machine


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _describe(frame: FrameType) -> str:
    import linecache  # noqa: PLC0415 - for whoever is refused

    name, line = frame.f_code.co_filename, frame.f_lineno
    code = linecache.getline(name, line).strip()
    return f"{name}:{line} in {frame.f_code.co_name}: {code}"

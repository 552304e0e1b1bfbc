"""Code with the real hosts written into it, unchanged, against the mock.

For as long as an interception is on, the names of Qianfan resolve to addresses of this machine that lead to the mock:
port 443 to a door that speaks TLS, port 80 to a plain one. Nobody stops checking certificates: a TLS connection to one
of these names is checked against an authority made for the occasion instead of the public ones, which has signed a
certificate for these names and nothing else. The program's own `ssl.SSLContext` is left as it is, so nothing goes on
trusting that authority afterwards.
"""

from __future__ import annotations

import inspect
import os
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from mock_server.serving.front import Front
from mock_server.tls import Authority
from qfkit.testing.network import NETWORK, spelled

if TYPE_CHECKING:
    from mock_server import AccountHandle, MockServer
    from mock_server.journal import Entries
    from mock_server.state import State

#: Hosts that clients of Qianfan have written into them (wire reference 1).
HOSTS = ("aip.baidubce.com", "qianfan.baidubce.com", "iam.bj.baidubce.com")

#: Keys that mean something only together.
_PAIRS = (("access_key", "secret_key"), ("ak", "sk"))

_TAKEN = (
    "an interception is on already, and a name can lead to one place only: ask for qianfan_intercept once a test, and "
    "end one intercept(...) block before the next begins"
)


class Interception:
    """What a test holds while the real hosts lead to its account.

    Attributes:
        account: whose keys are expected, whose script answers.
        hosts: the names that lead here.
    """

    def __init__(self, server: MockServer, account: AccountHandle, hosts: Sequence[str], doors: dict[int, Front]):
        self.account = account
        self.hosts = tuple(hosts)
        self._server = server
        self._used = False
        # What a name resolves to is never connected to; it tells the names apart when a connection is asked for, with
        # the port that the program meant (anyio connects to the port it was given, not to one that was resolved).
        self._addresses = {host: f"127.86.66.{number}" for number, host in enumerate(self.hosts, 1)}
        self._names = {address: host for host, address in self._addresses.items()}
        self._doors = doors

    def __repr__(self) -> str:
        return f"<interception of {', '.join(self.hosts)} for {self.account!r}>"

    def use(self, **keys: str) -> Interception:
        """Let the account have the keys that are written into the program under test.

        Args:
            keys: ``access_key`` with ``secret_key``, ``ak`` with ``sk``, ``bearer_token``; the account's other keys
                stay.

        Raises:
            DuplicateCredentials: another account of the server has one of them.
            TypeError: a keyword is no key, or half of a pair is missing.
        """
        for pair in _PAIRS:
            if len(missing := [name for name in pair if name not in keys]) == 1:
                other = next(name for name in pair if name in keys)
                raise TypeError(f"use({other}=...) needs {missing[0]}= as well: what one signs, the other checks")
        now = self.account.credentials
        kept = {name: getattr(now, name) for pair in (*_PAIRS, ("bearer_token",)) for name in pair}
        self.account.rotate(**{**kept, **keys})
        self._used = True
        return self

    def release(self) -> None:
        """Give back the keys that `use` took, so that the next test's account may have them.

        The account is forgotten by the server then; what it recorded can still be read.
        """
        if self._used and any(account is self.account for account in self._server.accounts):
            self._server.remove(self.account)

    @property
    def requests(self) -> Entries:
        """What arrived for the account, oldest first."""
        return self.account.requests

    # Router

    def address(self, host: str) -> str | None:
        """What one of the names resolves to."""
        return self._addresses.get(host)

    def door(self, host: str, port: int) -> tuple[str, int] | None:
        """Where a connection to one of the names goes.

        Raises:
            ConnectionRefusedError: it is for another port than 443 and 80.
        """
        name = self._names.get(host, host)
        if name not in self._addresses:
            return None
        door = self._doors.get(port)
        if door is None:
            raise ConnectionRefusedError(
                f"qianfan_intercept: {name} is asked for on port {port}; the service, and so the mock in its place, "
                "listens on 443 (https) and 80 (http)"
            )
        return door.host, door.port


@contextmanager
def intercept(server: MockServer, account: AccountHandle, *, hosts: Sequence[str] = ()) -> Iterator[Interception]:
    """Let the real hosts lead to ``account`` of ``server``, in this process, until the block ends.

    Args:
        server: a mock that runs.
        account: one of its accounts; requests still need its keys, see `Interception.use`.
        hosts: more names that lead here, beside `HOSTS`; a gateway of your own, for instance.

    Raises:
        RuntimeError: an interception is on already.
        TlsError: trustme is missing.
    """
    names = tuple(dict.fromkeys((*HOSTS, *(host.rstrip(".").lower() for host in hosts))))
    authority = Authority()
    with ExitStack() as stack:
        doors: dict[int, Front] = {}
        handle = Interception(server, account, names, doors)
        stack.enter_context(NETWORK.place("router", handle, _TAKEN))
        for port, context in ((443, authority.context(*names)), (80, None)):
            doors[port] = stack.enter_context(_door(server.state, context))
        stack.enter_context(_checked_against(authority.pem.decode("ascii"), frozenset(names)))
        stack.enter_context(_without_proxy(names))
        yield handle


@contextmanager
def _door(state: State, context: ssl.SSLContext | None) -> Iterator[Front]:
    """One more door of a mock that runs, in a thread of its own."""
    front = Front(state, tls=context)
    ready = threading.Event()
    thread = threading.Thread(target=front.run, args=(ready,), name=f"qfkit-intercept-{front.port}", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield front
    finally:
        front.stop()
        thread.join()


@contextmanager
def _checked_against(pem: str, names: frozenset[str]) -> Iterator[None]:
    """Check connections to ``names`` against the authority ``pem``; whoever does not check goes on not checking."""

    def stand_in(context: ssl.SSLContext, name: Any) -> ssl.SSLContext | None:
        """The context that checks against our authority; None where the program's own is to be used."""
        if spelled(name) not in names or context.verify_mode == ssl.CERT_NONE:
            return None
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = context.check_hostname
        trusting.verify_mode = context.verify_mode
        trusting.minimum_version = context.minimum_version
        trusting.maximum_version = context.maximum_version
        trusting.load_verify_locations(cadata=pem)
        return trusting

    def patched(real: Any) -> Any:
        signature = inspect.signature(real)

        def wrap(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            trusting = stand_in(given.arguments["self"], given.arguments.get("server_hostname"))
            if trusting is not None:
                given.arguments["self"] = trusting
                given.arguments["session"] = None  # one would belong to the context that it was made with
            return real(*given.args, **given.kwargs)

        return wrap

    with (
        patch.object(ssl.SSLContext, "wrap_socket", patched(ssl.SSLContext.wrap_socket)),
        patch.object(ssl.SSLContext, "wrap_bio", patched(ssl.SSLContext.wrap_bio)),
    ):
        yield


@contextmanager
def _without_proxy(names: Sequence[str]) -> Iterator[None]:
    """Tell the clients of this process to go to ``names`` directly: a proxy would look them up itself."""
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    value = ",".join([*([before] if before else []), *names])
    with patch.dict(os.environ, {"no_proxy": value, "NO_PROXY": value}):
        yield

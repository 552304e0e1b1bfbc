"""Code with the real hosts written into it, unchanged, against the mock.

For as long as an interception is on, the names of Qianfan resolve to addresses of this machine that lead to the mock:
port 443 to a door that speaks TLS, port 80 to a plain one. See `qfkit.testing.detour` for how.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mock_server.serving.front import Front
from mock_server.tls import Authority
from qfkit.testing.detour import HOSTS, Detour, trusting
from qfkit.testing.network import NETWORK

if TYPE_CHECKING:
    from mock_server import AccountHandle, MockServer
    from mock_server.journal import Entries
    from mock_server.state import State

#: Keys that mean something only together.
_PAIRS = (("access_key", "secret_key"), ("ak", "sk"))

_TAKEN = (
    "an interception is on already, and a name can lead to one place only: ask for qianfan_intercept once a test, and "
    "end one intercept(...) block before the next begins"
)


class Interception(Detour):
    """What a test holds while the real hosts lead to its account.

    Attributes:
        account: whose keys are expected, whose script answers.
        hosts: the names that lead here.
    """

    def __init__(
        self, server: MockServer, account: AccountHandle, hosts: Sequence[str], doors: Mapping[int, tuple[str, int]]
    ):
        self.account = account
        super().__init__(hosts, doors, "qianfan_intercept")
        self._server = server
        self._used = False

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
        doors: dict[int, tuple[str, int]] = {}
        handle = Interception(server, account, names, doors)
        stack.enter_context(NETWORK.place("router", handle, _TAKEN))
        for port, context in ((443, authority.context(*names)), (80, None)):
            front = stack.enter_context(_door(server.state, context))
            doors[port] = (front.host, front.port)
        stack.enter_context(trusting(names, authority.pem.decode("ascii")))
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

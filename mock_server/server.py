"""The mock in a test's own process."""

from __future__ import annotations

import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mock_server.config.applying import Applied, apply, set_up
from mock_server.handle import AccountHandle
from mock_server.journal import Entries
from mock_server.serving.front import Front
from mock_server.settings import Settings, build, load
from mock_server.state import Account, State
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.credentials import Credentials

if TYPE_CHECKING:
    from mock_server.tls import Authority


def _authority() -> Authority:
    from mock_server.tls import Authority  # noqa: PLC0415 - few mocks speak TLS

    return Authority()


def write_pem(pem: bytes) -> str:
    """A certificate as a file of its own; its path."""
    descriptor, path = tempfile.mkstemp(prefix="qfkit-ca-", suffix=".pem")
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
        file.write(pem)
    return path


class _Switching:
    """How often the interpreter lets another thread run, while mocks share it with the tests.

    A test that computes gives way to the mock's thread only once in the switch interval, for each of the mock's steps
    anew: with Python's 5 ms, the pieces of its streams leave up to seconds late. The setting is the whole process's, so
    it is put back when the last mock stops.
    """

    SECONDS = 1e-4

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mocks = 0
        self._before = 0.0

    def hurry(self) -> None:
        """A mock has started."""
        with self._lock:
            if self._mocks == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, self.SECONDS))
            self._mocks += 1

    def relax(self) -> None:
        """A mock has stopped."""
        with self._lock:
            self._mocks -= 1
            if self._mocks == 0:
                sys.setswitchinterval(self._before)


_SWITCHING = _Switching()


class MockServer:
    """A Qianfan that runs in this process, in one thread of its own.

    Use it as a context manager, or call `start` and `stop`. Many can run side by side.

    Args:
        port: 0 takes a free port.
        host: loopback by default; an IPv6 address is written without brackets.
        uds: a path to listen on as a Unix socket, instead of TCP.
        config: a YAML file of settings; keyword arguments win over it.
        clock: where the mock reads the time.
        tls: speak https, with a certificate of an authority made for the occasion (`ca_file`); an `Authority` that is
            kept somewhere may be given instead of True.
        settings: any field of `mock_server.settings.Settings`, such as ``auth="warn"``, ``seed=7``, ``ttft=0.2``.

    Raises:
        ConfigError: a setting is not one, or its value is out of range.
        OSError: the port is taken (from `start`).
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        uds: str | Path | None = None,
        config: str | Path | Settings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        tls: bool | Authority = False,
        **settings: Any,
    ) -> None:
        if isinstance(config, Settings):
            if settings:
                raise TypeError("give a Settings value or single settings, not both")
            self.settings = config
        else:
            self.settings = load(config, **settings) if config is not None else build(settings)
        self._config, self._overrides = config, settings
        self._authority = _authority() if tls is True else tls or None
        if self._authority is not None and uds is not None:
            raise TypeError("TLS is for TCP: leave uds or tls out")
        context = self._authority.context(host) if self._authority is not None else None
        self._address = partial(Front, host=host, port=port, uds=uds, tls=context)
        self.state = State(self.settings, clock)
        self._front: Front | None = None
        self._thread: threading.Thread | None = None
        self._handles: dict[str, AccountHandle] = {}

    # Life

    def start(self) -> MockServer:
        """Listen and answer; returns when requests are taken.

        Raises:
            OSError: the address cannot be had.
            RuntimeError: it runs already.
        """
        if self._front is not None:
            raise RuntimeError("this mock runs already; make another MockServer for a second one")
        front = self._address(self.state)
        ready = threading.Event()
        self._thread = threading.Thread(target=front.run, args=(ready,), name=f"qfkit-mock-{front.port}", daemon=True)
        self._thread.start()
        ready.wait()
        self._front = front
        _SWITCHING.hurry()
        if self._authority is not None:
            self.state.ca_file = write_pem(self._authority.pem)
        set_up(self.state)
        return self

    def stop(self) -> None:
        """Hang up on everybody and give the port back; what was recorded can still be read. Stopping twice is fine."""
        front, self._front = self._front, None
        if front is not None and self._thread is not None:
            front.stop()
            self._thread.join()
            _SWITCHING.relax()
            if self.state.ca_file is not None:
                Path(self.state.ca_file).unlink(missing_ok=True)
                self.state.ca_file = None

    def reload(self) -> Applied:
        """Read the configuration file again and use it, as ``qfkit mock --watch`` does; what became of its accounts.

        Journals and tokens stay, and so do accounts that have not changed. See `mock_server.config.applying.apply`.

        Raises:
            ConfigError: the file cannot be used; nothing was changed.
            DuplicateCredentials: another account has one of its keys; nothing was changed.
            RuntimeError: the mock was not made with a file.
        """
        if self._config is None or isinstance(self._config, Settings):
            raise RuntimeError("this mock has no configuration file: make it with MockServer(config='mock.yaml')")
        applied = apply(self.state, load(self._config, **self._overrides))
        self.settings = self.state.settings
        for name in applied.removed:
            self._handles.pop(name, None)
        return applied

    def __enter__(self) -> MockServer:
        return self if self._front is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Where it is

    @property
    def url(self) -> str:
        """The base URL, such as ``http://127.0.0.1:40123``: no slash at the end.

        Raises:
            RuntimeError: it was not started.
        """
        return self._running().url

    def _running(self) -> Front:
        if self._front is None:
            raise RuntimeError("this mock is not running: use it as 'with MockServer() as server:' or call start()")
        return self._front

    @property
    def ca_file(self) -> str:
        """The certificate of the authority that signed the server's, in a file that is removed when the mock stops.

        For ``verify=`` of requests and httpx; `AccountHandle.env` names it in the variables that they read.

        Raises:
            RuntimeError: the mock does not speak TLS, or is not running.
        """
        if self.state.ca_file is None:
            raise RuntimeError("this mock has no certificate: make it with MockServer(tls=True), and start it")
        return self.state.ca_file

    @property
    def port(self) -> int:
        """The TCP port it listens on; 0 for a Unix socket."""
        return self._running().port

    # Who uses it

    def account(self, *, name: str | None = None, **keys: str) -> AccountHandle:
        """A new account with keys of its own, isolated from every other.

        Args:
            name: shown in the journal; made up when not given.
            keys: any of ``access_key``, ``secret_key``, ``ak``, ``sk``, ``bearer_token``; the others are generated.

        Raises:
            DuplicateCredentials: another account has one of the keys.
            TypeError: a keyword is no key.
        """
        return self._handle(self.state.add_account(Credentials(**keys), name))

    @property
    def default_account(self) -> AccountHandle:
        """The first account; made when there is none yet."""
        return self._handle(self.state.default_account)

    @property
    def requests(self) -> Entries:
        """Every request the server saw, of all accounts and of none, oldest first."""
        return self.state.journal.entries()

    @property
    def accounts(self) -> tuple[AccountHandle, ...]:
        """Every account, in the order they were added."""
        return tuple(self._handle(account) for account in self.state.accounts())

    def remove(self, account: AccountHandle) -> None:
        """Forget an account with its keys and tokens; what it recorded can still be read.

        Raises:
            UnknownAccount: it was removed before.
        """
        self.state.remove_account(account.name)
        self._handles.pop(account.name, None)

    def reset(self) -> None:
        """Forget every account's script, rules, journal and counts; accounts, keys, tokens and limits stay."""
        for account in self.accounts:
            account.reset()
        self.state.journal.clear()

    def _handle(self, account: Account) -> AccountHandle:
        handle = self._handles.get(account.name)
        if handle is None or not handle.is_of(account):  # a name may go to another account
            handle = self._handles[account.name] = AccountHandle(account, self.state, self.url)
        return handle

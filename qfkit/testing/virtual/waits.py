"""How the process waits while virtual time is on: in threads, on sockets, in asyncio's loops.

Each function here stands for one of the standard library's, and is made of it. Waits without an end are left to it: a
thread that blocks for good is as still as can be. A wait with an end is a wait without one, and an alarm that wakes it.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import ssl
import stat
import sys
import threading
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from qfkit.testing.virtual.clock import WAITER, VirtualClock, nanoseconds
from qfkit.testing.virtual.current import Current, clock_for

#: Real seconds for which an answer from outside this process may keep virtual time from moving.
OUTSIDE = 1.0

#: Modules whose waits on a selector are those of a loop of asyncio.
_LOOPS = frozenset({"asyncio.base_events", "nest_asyncio"})

#: Whose loops may be uvloop's: the mock's, and its timers.
_MOCK = ("mock_server.", "qfkit.testing.virtual.loops")

_MSG_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)


class _Waiter:
    """What `threading.Condition` takes for the lock of one who waits; `notify` releases it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._gate = allocate_lock()
        self._gate.acquire()
        self._lock = allocate_lock()
        self._notified = False

    def release(self) -> None:
        with self._lock:
            self._notified = True
            if self._gate.locked():
                self._gate.release()

    def _ring(self) -> None:
        with self._lock:
            if self._gate.locked():
                self._gate.release()

    def wait(self, seconds: float) -> bool:
        """Whether `release` came before the time was over."""
        alarm = self._clock.alarm(nanoseconds(seconds), self._ring, turn=WAITER)
        try:
            self._gate.acquire()
        finally:
            self._clock.cancel(alarm)
        self._clock.check(alarm)
        return self._notified


def condition_wait(original: Any) -> Any:
    """`threading.Condition.wait`, and with it events, semaphores, barriers, timers, queues and futures."""

    def wait(self: Any, timeout: float | None = None) -> bool:
        clock = clock_for(sys._getframe(1)) if timeout is not None and timeout > 0 else None
        if clock is None:
            return bool(original(self, timeout))
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        waiter = _Waiter(clock)
        self._waiters.append(waiter)
        state = self._release_save()
        notified = False
        try:
            assert timeout is not None
            notified = waiter.wait(timeout)
        finally:
            self._acquire_restore(state)
            if not notified:
                with suppress(ValueError):
                    self._waiters.remove(waiter)
        return notified

    return wait


def thread_join(original: Any) -> Any:
    """`threading.Thread.join`."""

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        if timeout is not None and timeout > 0 and self is not threading.current_thread() and self.is_alive():
            clock = clock_for(sys._getframe(1))
            if clock is not None:
                clock.wait_until(lambda: not self.is_alive(), timeout)
                timeout = 0
        original(self, timeout)

    return join


def selector_select(original: Any) -> Any:
    """`select` of a selector that is waited for by a loop of asyncio, and by nobody else."""

    def select_(self: Any, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0 or sys._getframe(1).f_globals.get("__name__") not in _LOOPS:
            return original(self, timeout)
        clock = clock_for(sys._getframe(1))
        if clock is None:
            return original(self, timeout)
        if hasattr(self, "fileno"):
            _wait_readable(clock, self.fileno(), timeout)
            return original(self, 0)
        with _waking(clock, timeout) as waker:  # a selector of Python's own has to be told of the waker
            self.register(waker, selectors.EVENT_READ)
            try:
                return [event for event in original(self) if event[0].fd != waker]
            finally:
                self.unregister(waker)

    return select_


def socket_receive(original: Any) -> Any:
    """`recv` and `recv_into` of a socket with a timeout."""
    flags_at = 1 if original.__name__ == "recv" else 2

    def receive(self: socket.socket, *args: Any, **kwargs: Any) -> Any:
        timeout = self.gettimeout()
        flags = args[flags_at] if len(args) > flags_at else kwargs.get("flags", 0)
        if timeout == 0 or flags & _MSG_DONTWAIT or (clock := clock_for(sys._getframe(1))) is None:
            return original(self, *args, **kwargs)
        if _ready(self.fileno()):
            return original(self, *args, **kwargs)
        if not _is_here(self):
            with _held(clock):
                return original(self, *args, **kwargs)
        if timeout is not None and not _wait_readable(clock, self.fileno(), timeout):
            raise TimeoutError("timed out")
        return original(self, *args, **kwargs)

    return receive


def tls_read(original: Any) -> Any:
    """`ssl.SSLSocket.read`: what is readable may be nothing but the protocol's own, so look, and wait on."""

    def read(self: ssl.SSLSocket, *args: Any, **kwargs: Any) -> Any:
        timeout = self.gettimeout()
        clock = clock_for(sys._getframe(1)) if timeout else None
        if clock is None or self.pending() or not _is_here(self):
            return original(self, *args, **kwargs)
        assert timeout is not None
        until = clock.elapsed + timeout
        while True:
            self.settimeout(0)
            try:
                return original(self, *args, **kwargs)
            except ssl.SSLWantReadError:
                pass
            finally:
                self.settimeout(timeout)
            if not _wait_readable(clock, self.fileno(), until - clock.elapsed):
                raise TimeoutError("The read operation timed out")

    return read


def uvloop_timer(original: Any) -> Any:
    """`call_later` and `call_at` of uvloop, which keeps its own time in C: the mock's loop may, a test's may not."""

    def timer(self: Any, *args: Any, **kwargs: Any) -> Any:
        asker: FrameType | None = sys._getframe(1)
        while asker is not None and asker.f_globals.get("__name__", "").partition(".")[0] == "asyncio":
            asker = asker.f_back
        ours = asker is not None and asker.f_globals.get("__name__", "").startswith(_MOCK)
        if not ours and Current.clock is not None:
            raise RuntimeError(
                "uvloop keeps its own time, which virtual time cannot reach: this wait would take real time. Run "
                "asyncio's own loop in this test (with anyio's plugin: use_uvloop=False), or do without qianfan_clock"
            )
        return original(self, *args, **kwargs)

    return timer


def _wait_readable(clock: VirtualClock, descriptor: int, seconds: float) -> bool:
    """Wait until there is something to read, for ``seconds`` of virtual time at most; whether there is."""
    if seconds <= 0:
        return _ready(descriptor)
    with _waking(clock, seconds) as waker:
        _poll(descriptor, waker)
    return _ready(descriptor)


@contextmanager
def _waking(clock: VirtualClock, seconds: float) -> Iterator[int]:
    """A descriptor that becomes readable when ``seconds`` of virtual time have passed."""
    waker, bell = os.pipe()
    try:
        alarm = clock.alarm(nanoseconds(seconds), lambda: os.write(bell, b"!"), turn=WAITER)
        try:
            yield waker
        finally:
            clock.cancel(alarm)  # it rings under the clock's lock, which this takes: nobody writes after it
        clock.check(alarm)
    finally:
        os.close(waker)
        os.close(bell)


def _poll(*descriptors: int) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll()


def _ready(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _held(clock: VirtualClock) -> Iterator[None]:
    mark = clock.hold(OUTSIDE)
    try:
        yield
    finally:
        clock.let_go(mark)


# Whether the other end of a connection is in this process

_here: WeakKeyDictionary[socket.socket, bool] = WeakKeyDictionary()


def _is_here(sock: socket.socket) -> bool:
    """Whether somebody in this process has the other end, so that its answers come by virtual time."""
    known = _here.get(sock)
    if known is None:
        try:
            peer = sock.getpeername()
        except OSError:
            return False
        known = _here[sock] = _is_bound(peer)
    return known


def _is_bound(address: Any) -> bool:
    """Whether a socket of this process has this address."""
    if not os.path.isdir("/dev/fd") or socket.getdefaulttimeout() is not None:  # noqa: PTH112
        # The system does not tell, or asking would change a socket's mode: what is on this machine is taken for ours.
        return isinstance(address, tuple) and address[0] in {"127.0.0.1", "::1"}
    return any(name == address for name in _addresses())


def _addresses() -> Iterator[Any]:
    """Of every socket of this process."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):
            descriptor = int(name)
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                borrowed = socket.socket(fileno=descriptor)
                try:
                    yield borrowed.getsockname()
                finally:
                    borrowed.detach()


#: Owner, name -> what stands for it.
Patch = tuple[Any, str, Callable[[Any], Any]]


def patches() -> Iterator[Patch]:
    """All of them."""
    yield threading.Condition, "wait", condition_wait
    yield threading.Thread, "join", thread_join
    yield socket.socket, "recv", socket_receive
    yield socket.socket, "recv_into", socket_receive
    yield ssl.SSLSocket, "read", tls_read
    for name in ("EpollSelector", "KqueueSelector", "DevpollSelector", "PollSelector", "SelectSelector"):
        if (kind := getattr(selectors, name, None)) is not None:
            yield kind, "select", selector_select
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415 - optional

        yield uvloop.Loop, "call_later", uvloop_timer
        yield uvloop.Loop, "call_at", uvloop_timer

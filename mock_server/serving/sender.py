"""Carrying out delivery plans on one connection: each write at its time, no faster than the client reads.

The times are those of the mock's clock: on virtual time a stream is paced by it, else by the loop's own timers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial

from mock_server.delivery import Reply, Timing, WirePlan
from qfkit.clock import Timer, Timers

if sys.platform != "win32":
    import fcntl
    import termios

#: How often, and for how long at most, a reset waits for the client's kernel to have taken what was written before it.
_FLUSH_EVERY, _FLUSH_WITHIN = 0.002, 5.0

#: Seconds that a write may leave early: the difference of two times is off by so little, and a clock that leaps from
#: timer to timer would not move before it is asked again.
_ROUNDING = 1e-9


class Sender:
    """Sends one reply at a time.

    Args:
        transport: of the connection.
        loop: of the connection.
        timers: gives those that pace the writes.
        finished: told what becomes of the connection when a plan has been carried out: ``keep``, ``close`` or
            ``reset``. A plan that hangs never gets there.
    """

    __slots__ = (
        "_finished",
        "_loop",
        "_next",
        "_paused",
        "_plan",
        "_reply",
        "_start",
        "_timer",
        "_timers",
        "_timing",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        timers: Callable[[], Timers],
        finished: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._timers = timers
        self._timing: Timers = loop
        self._finished = finished
        self._plan: WirePlan | None = None
        self._reply: Reply | None = None
        self._next = 0
        self._start = 0.0
        self._paused = False
        self._timer: Timer | None = None

    @property
    def waiting(self) -> bool:
        """In the middle of a plan, until its next time comes or the client has read more."""
        return self._plan is not None

    def send(self, plan: WirePlan, reply: Reply) -> None:
        """Carry out ``plan`` from now on; ``reply`` is told how it went."""
        if len(plan.writes) > 1:
            reply.timing = Timing.of(plan)
            reply.body = ()  # the plan holds the same bytes: an open stream needs them once
        self._timing = self._timers()
        self._plan, self._reply, self._next, self._start = plan, reply, 0, self._timing.time()
        self._go_on()

    def pause(self) -> None:
        """The client is behind: write no more until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._plan is not None and self._timer is None:
            self._go_on()

    def abandon(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._plan = None
        self._tell("hung up")

    def _go_on(self) -> None:
        """Write all that is due, then wait for the rest."""
        plan, reply = self._plan, self._reply
        assert plan is not None
        assert reply is not None
        self._timer = None
        writes, last, timing = plan.writes, len(plan.writes) - 1, reply.timing
        index, now = self._next, self._timing.time() - self._start
        while index <= last and writes[index].at <= now + _ROUNDING and not self._paused:
            if timing is not None:
                timing.real.append(max(now, writes[index].at))  # what is early by rounding only is in time
            data = writes[index].data
            reply.sent += len(data)
            if index == last and plan.after != "hang":
                self._tell(reply.ending)  # before the bytes: whoever has read them all finds the journal complete
            if data:
                self._transport.write(data)
            index += 1
        self._next = index
        if index > last:
            self._end(plan)
        elif not self._paused:
            self._timer = self._timing.call_at(self._start + writes[index].at, self._go_on)

    def _end(self, plan: WirePlan) -> None:
        if plan.after == "hang":
            return  # the plan stays: the client waits until it has had enough
        self._plan = None
        if plan.after == "reset":
            self._reset(self._loop.time() + _FLUSH_WITHIN)
        else:
            self._finished(plan.after)

    def _tell(self, outcome: str) -> None:
        reply, self._reply = self._reply, None if outcome == "hung up" else self._reply
        if reply is not None and reply.on_end is not None:
            reply.on_end(outcome)

    def _reset(self, until: float) -> None:
        """Tear the connection down, once all that was written has arrived: a reset overtakes what is on its way."""
        if self._unsent() and self._loop.time() < until:
            self._timer = self._flush_timer(partial(self._reset, until))
            return
        self._timer = None
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._finished("reset")

    def _flush_timer(self, callback: Callable[[], None]) -> Timer:
        """The kernel takes real time, and virtual time must not go on meanwhile."""
        wait = getattr(self._timing, "call_soon_in_real_time", self._loop.call_later)
        timer: Timer = wait(_FLUSH_EVERY, callback)
        return timer

    def _unsent(self) -> bool:
        if self._transport.get_write_buffer_size():
            return True
        if sys.platform == "win32":
            return False
        waiting = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
        return waiting != b"\0" * 4

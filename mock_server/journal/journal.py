"""The record, bounded by a number of entries and by what all of them take in memory.

An entry stands in two journals, the server's and its account's, so the bytes are counted in one place for all: the
`Memory` that the journals of a mock share. When it is full, the oldest entry leaves every journal it stands in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from itertools import count
from operator import itemgetter

from mock_server.journal.entries import Entries
from mock_server.journal.entry import Entry
from mock_server.journal.redaction import redact, redact_target
from qfkit.protocol.http import HttpRequest

#: What the journals of a mock may take together, when nothing else is said: 64 MiB.
DEFAULT_BYTES = 64 * 1024 * 1024

#: About what an entry takes beside its headers and bodies: measured with `sys.getsizeof` over all that hangs on one.
_BARE = 1600

#: About what a header takes beside its value.
_HEADER = 180

_VALUE = itemgetter(1)


class Memory:
    """Bytes that some journals may take together: headers and bodies as they are, the rest by estimate.

    Args:
        limit: in bytes. An entry that is larger is not remembered at all.
    """

    __slots__ = ("_held", "limit", "lock", "used")

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self.limit = limit
        self.used = 0
        self.lock = threading.Lock()  # of all these journals
        self._held: OrderedDict[Entry, None] = OrderedDict()

    def hold(self, entry: Entry) -> None:
        """Count an entry; the lock is held. The oldest make room."""
        self._held[entry] = None
        self.used += entry.weight
        if self.used > self.limit:
            self._make_room()

    def release(self, entry: Entry) -> None:
        """An entry has left its last journal; the lock is held."""
        if entry in self._held:
            del self._held[entry]
            self.used -= entry.weight

    def grow(self, entry: Entry, weight: int) -> None:
        """An entry has become heavier."""
        with self.lock:
            if entry in self._held:
                entry.weight += weight
                self.used += weight
                if self.used > self.limit:
                    self._make_room()

    def _make_room(self) -> None:
        while self.used > self.limit and self._held:
            oldest, _ = self._held.popitem(last=False)
            self.used -= oldest.weight
            for journal in oldest.homes:
                journal.drop(oldest)
            oldest.homes = ()


class Journal:
    """The last ``limit`` entries, as far as the memory goes. Safe for any number of threads.

    Args:
        limit: how many entries; 0 is the off switch: requests are counted and not remembered.
        memory: what it shares with other journals; None gives it `DEFAULT_BYTES` of its own. One entry goes into
            journals of one memory only.
    """

    __slots__ = ("_count", "_entries", "_forgotten", "_limit", "_numbers", "memory")

    def __init__(self, limit: int, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self._limit = limit
        self._entries: deque[Entry] = deque()
        self._numbers = count(1)
        self._count = 0
        self._forgotten = 0

    def open(self, request: HttpRequest, now: float) -> Entry:
        """A new entry for ``request``, redacted. It is in the journal from `add` on."""
        number = next(self._numbers)
        if not self._limit:
            return Entry(number, now, request.method, redact_target(request.target), (), request.body)
        headers = redact(request.headers)
        entry = Entry(number, now, request.method, redact_target(request.target), headers, request.body)
        # Names of headers are short, and counted with what each header takes.
        entry.weight = (
            _BARE + _HEADER * len(headers) + len(entry.target) + len(entry.body) + sum(map(len, map(_VALUE, headers)))
        )
        return entry

    def add(self, entry: Entry, *others: Journal) -> None:
        """Write the entry, here and in ``others`` of the same memory; the oldest makes room where it is full."""
        with self.memory.lock:
            self._write(entry)
            for other in others:
                other._write(entry)

    def _write(self, entry: Entry) -> None:
        self._count += 1
        if not self._limit:
            return
        self._entries.append(entry)
        if entry.homes:
            entry.homes += (self,)
        else:
            entry.homes = (self,)
            self.memory.hold(entry)
        if len(self._entries) > self._limit:
            self._forgotten += 1
            self._leave(self._entries.popleft())

    def drop(self, entry: Entry) -> None:
        """Forget one entry, to make room; called by the memory, which holds the lock."""
        self._forgotten += 1
        if self._entries[0] is entry:
            self._entries.popleft()
        else:  # threads may write entries in another order than they took their numbers
            self._entries.remove(entry)

    def _leave(self, entry: Entry) -> None:
        homes = entry.homes
        entry.homes = homes = () if len(homes) == 1 else tuple([home for home in homes if home is not self])
        if not homes:
            self.memory.release(entry)

    def entries(self) -> Entries:
        """What is recorded now, oldest first."""
        with self.memory.lock:
            return Entries(tuple(self._entries), self._forgotten)

    @property
    def count(self) -> int:
        """Requests written since the start, also those no longer recorded."""
        return self._count

    @property
    def forgotten(self) -> int:
        """Requests that made room for others; those that `clear` forgot are not counted."""
        return self._forgotten

    def clear(self) -> None:
        """Forget what is recorded; numbers go on."""
        with self.memory.lock:
            for entry in self._entries:
                self._leave(entry)
            self._entries.clear()
            self._forgotten = 0

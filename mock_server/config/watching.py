"""A configuration file that may change while the mock runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mock_server.config.applying import apply
from mock_server.settings import ConfigError, load
from mock_server.state import DuplicateCredentials
from qfkit.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from mock_server.state import State

#: Seconds between two looks at the file.
EVERY = 0.5


class Watcher:
    """Applies a file anew whenever it has changed; one that cannot be used changes nothing.

    It polls: a look costs microseconds, needs no package, and sees changes where the events of the operating system do
    not reach: network drives, volumes of containers, editors that put another file in the place of the old one.

    Args:
        state: of the mock.
        file: the configuration.
        overrides: settings that win over the file.
        tell: called with a line for people after every change.
        clock: how it waits.
    """

    def __init__(
        self,
        state: State,
        file: Path,
        overrides: dict[str, Any],
        tell: Callable[[str], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._state = state
        self._file = file
        self._overrides = overrides
        self._tell = tell
        self._clock = clock
        self._seen = self._look()

    def poll(self) -> bool:
        """Look once; whether the file had changed and was applied."""
        now = self._look()
        if now == self._seen:
            return False
        self._seen = now
        try:
            applied = apply(self._state, load(self._file, **self._overrides))
        except (ConfigError, DuplicateCredentials) as error:
            self._tell(f"{error}\n{self._file} has changed and cannot be used: the settings from before it stay")
            return False
        self._tell(f"{self._file} has changed and is in use: {applied}")
        return True

    def run(self, stop: threading.Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.is_set():
            self._clock.sleep(EVERY)
            self.poll()

    def _look(self) -> tuple[int, int, int] | None:
        """What a change of the file changes; None while there is no file."""
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

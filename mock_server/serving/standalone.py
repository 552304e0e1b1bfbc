"""The mock as a process of its own."""

from __future__ import annotations

import gc
import signal
import ssl
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from mock_server.config.applying import set_up
from mock_server.serving.front import Front
from mock_server.state import State
from qfkit.protocol.credentials import Credentials

if TYPE_CHECKING:
    from mock_server.config.watching import Watcher

#: Answers under way may take this long to end after SIGTERM or SIGINT, in seconds.
DRAIN_SECONDS = 5.0


def serve(
    state: State,
    host: str,
    port: int,
    keys: Credentials,
    announce: Callable[[str], None],
    *,
    watcher: Watcher | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Listen and answer until SIGINT or SIGTERM. Answers under way may end; a second signal hangs up at once.

    Args:
        state: settings and accounts; those of the configuration are added here.
        host: the address.
        port: 0 takes a free one.
        keys: of the default account, where the configuration names no account.
        announce: told the base URL once requests are taken.
        watcher: looks after the configuration file meanwhile.
        tls: the server's certificate, None for plain HTTP.

    Raises:
        OSError: the address cannot be had.
        DuplicateCredentials: two accounts share a key.
    """
    front = Front(state, host, port, tls=tls)
    set_up(state)
    if not state.accounts():
        state.add_account(keys, "default")
    ready = threading.Event()
    threading.Thread(target=_when_ready, args=(ready, announce, front.url), daemon=True).start()
    signals = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        front.stop(drain_seconds=DRAIN_SECONDS if signals == 1 else 0.0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # What is there now stays: the collector need not look at it again, nor as often as it does for short programs.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    stopped = threading.Event()
    if watcher is not None:
        threading.Thread(target=watcher.run, args=(stopped,), name="qfkit-watch", daemon=True).start()
    try:
        front.run(ready)
    finally:
        stopped.set()


def _when_ready(ready: threading.Event, announce: Callable[[str], None], url: str) -> None:
    ready.wait()
    announce(url)

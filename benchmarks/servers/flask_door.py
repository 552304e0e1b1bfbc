"""The mock with every path given to Flask: the same door, loop and threads, and the core behind a Flask view.

python -m benchmarks.servers.flask_door PORT CONFIG
"""

from __future__ import annotations

import signal
import sys

from mock_server.config.applying import set_up
from mock_server.serving.front import Front
from mock_server.settings import load
from mock_server.state import State


def main() -> None:
    state = State(load(sys.argv[2]))
    front = Front(state, "127.0.0.1", int(sys.argv[1]), flask=True)
    set_up(state)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: front.stop())
    front.run()


if __name__ == "__main__":
    main()

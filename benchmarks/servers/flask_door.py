"""The mock with every path given to Flask: the same door, loop and threads, and the core behind a Flask view.

    python -m benchmarks.servers.flask_door PORT CONFIG
"""

from __future__ import annotations

import sys

from mock_server.serving import front
from mock_server.serving.standalone import serve
from mock_server.settings import load
from mock_server.state import State
from qfkit.protocol.credentials import Credentials


def main() -> None:
    # Paths under this prefix are Flask's: now all of them are.
    if not front.OWN_PREFIX.startswith("/"):
        raise SystemExit("front.OWN_PREFIX is no path prefix any more: see how Flask is chosen there, and follow")
    front.OWN_PREFIX = "/"
    serve(State(load(sys.argv[2])), "127.0.0.1", int(sys.argv[1]), Credentials(), lambda _url: None)


if __name__ == "__main__":
    main()

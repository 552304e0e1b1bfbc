"""The mock after it has grown: with that many accounts, whose keys are known, or with a journal of that size.

python -m benchmarks.servers.grown PORT CONFIG ACCOUNTS
"""

from __future__ import annotations

import sys

from benchmarks.work import grown_keys
from mock_server.serving.standalone import serve
from mock_server.settings import load
from mock_server.state import State
from qfkit.protocol.credentials import Credentials


def main() -> None:
    state = State(load(sys.argv[2]))
    for keys in grown_keys(int(sys.argv[3])):
        state.add_account(Credentials(access_key=keys.access_key, secret_key=keys.secret_key))
    serve(state, "127.0.0.1", int(sys.argv[1]), Credentials(), lambda _url: None)


if __name__ == "__main__":
    main()

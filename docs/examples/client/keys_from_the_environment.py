"""Keys come from the environment or a `.env` file, never from the code."""

import os
import tempfile
from pathlib import Path

from mock_server import MockServer
from qfkit import Client

with MockServer() as server, tempfile.TemporaryDirectory() as folder:
    account = server.account()
    os.environ.update(account.env())  # QIANFAN_ACCESS_KEY, QIANFAN_SECRET_KEY, …, and the mock's address

    with Client.from_env() as client:
        print(client)  # dialect and address; no key
        client.chat("你好")

    # The same from a .env file. What the environment says wins.
    dotenv = Path(folder) / ".env"
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in account.env().items()), "utf-8")
    with Client.from_env({}, dotenv=dotenv) as client:
        client.chat("你好")
    assert len(account.requests) == 2

"""Keys in a file that only its owner may read. When the file changes, the client signs with the new keys."""

import tempfile
from pathlib import Path

from mock_server import MockServer
from qfkit import Client, ConfigurationError, Credentials, KeyFile


def write(path: Path, keys: Credentials) -> None:
    path.touch(mode=0o600)
    path.write_text(f"QIANFAN_ACCESS_KEY={keys.access_key}\nQIANFAN_SECRET_KEY={keys.secret_key}\n", "utf-8")


with MockServer() as server, tempfile.TemporaryDirectory() as folder:
    account = server.account()
    path = Path(folder) / "qianfan.keys"
    write(path, account.credentials)
    with Client(server.url, KeyFile(path)) as client:
        client.chat("你好")
        write(path, account.rotate(keep_old=False))  # the old keys are void from here on
        reply = client.chat("你好")
        assert len(reply.attempts) == 1  # signed with the new ones at once

        path.chmod(0o644)
        try:
            client.chat("你好")
        except ConfigurationError as error:
            print(error)  # says who could read it, and the chmod that helps
        else:
            raise AssertionError("others could read it")

"""A real Redis of a test's own, on a free port, which may die and come back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis
from scripted_server import PATIENCE

BINARY = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(
    BINARY is None and not os.environ.get("CI"),  # in CI its absence is a failure, not a reason to skip
    reason="NOT TESTED: no redis-server on this machine (Debian: apt-get install redis-server)",
)


class RedisServer:
    """A redis-server on a free port and a socket, which forgets everything when it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket_url = f"unix://{folder}/redis.sock"

    def start(self) -> None:
        command = [BINARY, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self.folder), "--unixsocket", f"{self.folder}/redis.sock", "--logfile", "log"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as probe:
            try:
                return probe.ping()
            except redis.exceptions.RedisError:
                return False

    def die(self) -> None:
        if self.process is not None:
            self.process.send_signal(getattr(signal, "SIGCONT", signal.SIGTERM))
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

"""What a server must survive: crowds of idle clients, huge bodies, nonsense; and what it must give back afterwards."""

from __future__ import annotations

import gc
import re
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import requests

from mock_server import MockServer

ROOT = Path(__file__).parent.parent.parent
CHAT = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def ask(server: MockServer, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{server.url}/v2/chat/completions", json=CHAT, headers=headers, timeout=30).status_code


def test_ten_thousand_idle_connections_hold_nobody_up():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = hard if hard != resource.RLIM_INFINITY else 1 << 20
    count = min(10_000, (room - 1000) // 2)  # both ends of each are in this process
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(room, 2 * count + 1000), hard))
    idle: list[socket.socket] = []
    try:
        with MockServer() as server:
            token = str(server.account().credentials.bearer_token)
            for _ in range(count):
                sock = socket.socket()
                sock.connect(("127.0.0.1", server.port))
                idle.append(sock)
            assert ask(server, token) == 200
            for sock in idle[:: max(1, count // 20)]:
                sock.sendall(b"GET /v2/models HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(100).startswith(b"HTTP/1.1 401 ")
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert count >= 1000


def test_a_body_of_100_mb_is_refused_before_it_is_read():
    with MockServer() as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"POST /v2/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_files_and_threads_are_given_back():
    with MockServer() as warm:
        ask(warm, "x")
    gc.collect()
    files, threads = open_files(), threading.active_count()
    for _ in range(10):
        with MockServer() as server:
            account = server.account()
            assert ask(server, str(account.credentials.bearer_token)) == 200
            requests.get(f"{server.url}/__admin/health", timeout=10)
            socket.create_connection(("127.0.0.1", server.port)).close()
    gc.collect()
    assert threading.active_count() <= threads + 4  # Flask's threads of the last server may still be ending
    assert open_files() <= files + 2


def test_memory_stays_flat_while_the_journal_is_full():
    def resident_kib() -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text("utf-8"))[1])

    with MockServer(journal=200) as server:
        token = str(server.account().credentials.bearer_token)
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"

            def some(count: int) -> None:
                for _ in range(count):
                    session.post(f"{server.url}/v2/chat/completions", json=CHAT, timeout=30)

            some(600)
            before = resident_kib()
            some(1500)
            assert resident_kib() - before < 3000


def test_nonsense_is_survived():
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"survived (\d+) requests", done.stdout)[1]) > 100

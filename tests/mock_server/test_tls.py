"""TLS: checked certificates, and faults that are still what they were."""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import sys
from pathlib import Path

import pytest

from mock_server import MockServer
from mock_server.tls import NAMES, Authority, TlsError, how_to_trust

BODY = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}


@pytest.fixture(scope="module")
def server():
    with MockServer(tls=True) as server:
        yield server


@pytest.fixture
def account(server):
    return server.account()


def connect(server, name="localhost"):
    context = ssl.create_default_context(cafile=server.ca_file)
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    return context.wrap_socket(plain, server_hostname=name)


class Talk:
    """TLS over a plain socket, so that a TCP reset is seen as one: Python's own sockets take it for an end."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=server.ca_file)
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.socket.recv(65536))
        self.flush()

    def flush(self):
        if data := self.outgoing.read():
            self.socket.sendall(data)

    def send(self, data):
        self.tls.write(data)
        self.flush()

    def recv(self):
        """What comes next; nothing when TLS or TCP ends."""
        while (found := self._decrypted()) is None:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self.incoming.write(data)
        return found

    def _decrypted(self):
        """What TLS makes of what has come; None when it needs more."""
        try:
            return self.tls.read(65536)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""


def ask(server, account, **more):
    """The bytes of the answer, and how it ended."""
    body = json.dumps({**BODY, **more}).encode()
    lines = [
        "POST /v2/chat/completions HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {account.credentials.bearer_token}",
        f"Content-Length: {len(body)}",
    ]
    talk = Talk(server)
    with talk.socket:
        talk.send("\r\n".join([*lines, "\r\n"]).encode() + body)
        heard = b""
        try:
            while piece := talk.recv():
                heard += piece
                if heard.endswith(b"0\r\n\r\n") or (b"Content-Length" in heard and heard.endswith(b"}")):
                    return heard, "whole"
        except ConnectionResetError:
            return heard, "reset"
        return heard, "closed"


@pytest.mark.parametrize("name", NAMES)
def test_the_certificate_is_good_for_this_machine_and_the_real_hosts(server, name):
    with connect(server, name) as client:
        assert client.version() in {"TLSv1.2", "TLSv1.3"}
        assert client.getpeercert()


def test_for_no_other_host_and_for_nobody_who_does_not_trust_it(server):
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server, "example.com")
    context = ssl.create_default_context()
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    with plain, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_answers_and_streams_come_whole(server, account):
    account.reply("好").then.stream(["你", "好"])
    heard, end = ask(server, account)
    assert (end, json.loads(heard.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"]) == ("whole", "好")
    heard, end = ask(server, account, stream=True)
    assert (end, heard.count(b"data: ")) == ("whole", 4)
    assert server.url.startswith("https://127.0.0.1:")


@pytest.mark.parametrize(
    ("script", "events", "end"),
    [
        (lambda account: account.stream(["a"] * 5, cut_after=2), 2, "closed"),
        (lambda account: account.stream(["a"] * 5, cut_after=2, cut="reset"), 2, "reset"),
        (lambda account: account.stream(["a"] * 5, stall_after=2, stall=0.02), 7, "whole"),
        (lambda account: account.stream(["a"] * 5, writes="byte", interval=0.001), 7, "whole"),
        (lambda account: account.fault("reset"), 0, "reset"),
        (lambda account: account.fault("close"), 0, "closed"),
    ],
)
def test_faults_are_what_they_are_without_tls(server, account, script, events, end):
    script(account)
    heard, ended = ask(server, account, stream=True)
    assert (heard.count(b"data: "), ended) == (events, end)


@pytest.mark.parametrize(
    "nonsense", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", os.urandom(500), b"\0" * 5000]
)
def test_who_speaks_no_tls_is_hung_up_on_in_silence(server, account, nonsense, caplog):
    caplog.set_level(logging.DEBUG)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(nonsense)
        plain.shutdown(socket.SHUT_WR)
        try:
            while plain.recv(4096):
                pass
        except ConnectionResetError:
            pass  # hung up on with bytes unread
    assert ask(server, account)[1] == "whole"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_kept_authority_need_be_trusted_only_once(tmp_path):
    folder = tmp_path / "authority"
    first = Authority(folder)
    assert Authority(folder).pem == first.pem
    assert Authority().pem != first.pem
    key = folder / "qfkit-ca.key"
    if os.name == "posix":
        assert key.stat().st_mode & 0o777 == 0o600
        key.chmod(0o644)
        with pytest.raises(TlsError, match="can be read by others"):
            Authority(folder)
    with MockServer(tls=first) as server, connect(server):
        assert Path(server.ca_file).read_bytes() == first.pem


def test_the_certificate_file_goes_with_the_mock():
    server = MockServer(tls=True)
    with pytest.raises(RuntimeError, match="has no certificate"):
        _ = server.ca_file
    with server:
        path = Path(server.ca_file)
        assert b"PRIVATE" not in path.read_bytes()
        assert server.account().env()["REQUESTS_CA_BUNDLE"] == str(path)
    assert not path.exists()
    with pytest.raises(TypeError, match="TLS is for TCP"):
        MockServer(tls=True, uds="/tmp/x")


def test_without_trustme_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(TlsError, match=r"pip install 'qfkit\[server\]'"):
        Authority()


def test_what_a_person_reads_never_says_to_stop_checking():
    text = how_to_trust("https://127.0.0.1:8866", "/tmp/a b.pem")
    assert "REQUESTS_CA_BUNDLE='/tmp/a b.pem'" in text
    assert "--connect-to aip.baidubce.com:443:127.0.0.1:8866" in text
    assert not [word for word in ("verify=False", "--insecure", " -k ", "NODE_TLS_REJECT") if word in text]

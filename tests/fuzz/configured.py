"""A count of broken requests, over real sockets, for a `qfkit mock` of its own that has everything configured.

The server is a process of its own, so that its memory is its own. Whatever arrives, it has to go on answering; a 5xx
(in v1 a code that means one) may only come from the script, whose errors all say so.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil

from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, V1_PREFIX
from tests.fuzz.mutations import SEEDS, TOKENS, mutated, pieces

#: One of these is said by every error of the script: its own word, and what `call_tool` says to a schema that is none.
SCRIPTED = re.compile(rb"scripted|no arguments can be made up")

#: Answers that would be a fault of the server: a 5xx, or v1's and text_generation's codes for one.
_FAULT = re.compile(rb'^HTTP/1\.[01] 5\d\d |"error_code":(?:1|2|500|336000|336100)\b')

_PATIENCE = 30.0  # seconds until a server that says nothing has failed
_CONNECTIONS = 16
_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # memory is looked at after these; at the first, every pool is filled

# A short skew, since signed requests are remembered for twice as long, up to 50,000 of them: that memory has to be full
# long before the run is over.
_CONFIG = """
seed: 7
skew: 2
journal: 1000
journal_bytes: 4194304
accounts:
  - name: wide
    access_key: wide-key
    secret_key: wide-secret
    ak: wide-ak
    sk: wide-sk
    bearer_token: bce-v3/ALTAK-wide/key
    quota: {qps: 100000, rpm: 1000000, tpm: 1000000000, concurrency: 1000}
    chaos: {seed: 7, error_rate: 0.01, codes: [18, 17], reset_rate: 0.005, cut_rate: 0.01}
    rules:
      - on: {contains: 天气, dialect: v2}
        priority: 2
        script: [{fail: 503, message: scripted, times: 2}, {reply: 晴, times: 2}, {loop: forever}]
      - on: {regex: "你.", stream: true}
        script:
          - {stream: [你, 好, 😀], times: 3}
          - {template: "{{ number }}: {{ text }}"}
          - {echo: "> "}
          - {loop: forever}
      - on: {tools: true}
        script: [{call_tool: null, times: forever}]
      - on: {header: {x-none: absent}, json: {temperature: 0.5}, attempt: [1, 2]}
        script: [{refuse: sensitive-input, times: forever}]
    script: [{reply: null, times: 5}, {fail: 500, message: scripted}, {stream: [一, 二], cut_after: 1}, {loop: forever}]
  - name: narrow
    access_key: narrow-key
    secret_key: narrow-secret
    bearer_token: bce-v3/ALTAK-narrow/key
    quota: {qps: 5, rpm: 60, tpm: 1000, concurrency: 2, window: sliding}
    script: [{reply: 好, times: forever}]
"""

_MESSAGES = [
    {"messages": [{"role": "user", "content": "你好"}]},
    {"messages": [{"role": "user", "content": "北京天气?"}], "stream": True, "model": "ernie-4.0-8k"},
    {"messages": [{"role": "user", "content": "x"}], "temperature": 0.5, "model": "ernie-3.5-8k"},
    {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
        "model": "ernie-4.0-8k",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    },
    {"input": ["a", "b"], "model": "embedding-v1"},
]
_PATHS = (
    "/v2/chat/completions",
    "/v2/embeddings",
    f"{V1_PREFIX}/chat/completions",
    f"{V1_PREFIX}/chat/completions_pro",
    TEXT_GENERATION_CHAT,
    TEXT_GENERATION_CHAT + "_stream",
)
_READS = (b"/__admin/requests?limit=5", b"/__admin/accounts", b"/metrics", b"/__admin/openapi.json")
_BODY_TOKENS = [*TOKENS, b"null", b"[", b"}", b"1e999", b"\\ud800", b'"":', b"true", "\U0001f600".encode()]


class Requests:
    """Bytes of broken requests, of which a part gets past the doors to rules, scripts and quotas."""

    def __init__(self, source: random.Random, access_token: str) -> None:
        self._source = source
        self._access_token = access_token
        self._nonces = itertools.count()

    def one(self) -> bytes:
        """One request, mutated somewhere."""
        source = self._source
        kind = source.random()
        if kind < 0.3:
            return mutated(source.choice(SEEDS).replace(b"%KEY%", b"bce-v3/ALTAK-wide/key"), source, TOKENS)
        if kind < 0.4:
            return mutated(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % source.choice(_READS), source, TOKENS)
        body = json.dumps(source.choice(_MESSAGES), ensure_ascii=source.random() < 0.5).encode()
        if source.random() < 0.5:
            body = mutated(body, source, _BODY_TOKENS)
        whole = self._authenticated(source.choice(_PATHS), body)
        return whole if kind < 0.9 else mutated(whole, source, TOKENS)

    def _authenticated(self, path: str, body: bytes) -> bytes:
        name = "narrow" if self._source.random() < 0.1 else "wide"
        head = f"POST {path}"
        headers = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if path.startswith("/v2"):
            headers += f"Authorization: Bearer bce-v3/ALTAK-{name}/key\r\n"
        elif path.startswith(V1_PREFIX):
            head += f"?access_token={self._access_token}"
        else:
            now, nonce = str(int(time.time())), str(next(self._nonces))
            text = b"\n".join([b"POST", path.encode(), body, now.encode(), nonce.encode()])
            digest = hmac.new(f"{name}-secret".encode(), text, hashlib.sha256).digest()
            headers += f"X-Bce-AccessKey: {name}-key\r\nX-Bce-Timestamp: {now}\r\nX-Bce-Nonce: {nonce}\r\n"
            headers += f"X-Bce-Signature: {base64.b64encode(digest).decode()}\r\n"
        return f"{head} HTTP/1.1\r\n{headers}\r\n".encode() + body


class Run:
    """The requests that are still to be sent, and what came of the others."""

    def __init__(self, address: tuple[str, int], requests: Requests, source: random.Random) -> None:
        self._address = address
        self._requests = requests
        self._source = source
        self._left = 0
        self.sent = 0
        self.answers: Counter[str] = Counter()

    async def send(self, count: int) -> None:
        """Send so many more, over some connections at a time."""
        self._left = count
        await asyncio.gather(*(self._connections() for _ in range(_CONNECTIONS)))

    async def _connections(self) -> None:
        while self._left > 0:
            number = min(self._left, self._source.choice((1, 1, 1, 2, 5)))  # a refusal ends the connection
            self._left -= number
            data = b"".join(self._requests.one() for _ in range(number))
            try:
                await asyncio.wait_for(self._connection(data), _PATIENCE)
            except (AssertionError, TimeoutError, asyncio.TimeoutError) as error:
                raise AssertionError(
                    f"{error or 'no answer and no end'}, after {self.sent} requests: {data!r}"
                ) from None
            self.sent += number

    async def _connection(self, data: bytes) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        answer = b""
        try:
            for piece in pieces(data, self._source):
                writer.write(piece)
                await writer.drain()
            if self._source.random() < 0.05:
                writer.transport.abort()  # a client that does not wait
                self.answers["not waited for"] += 1
                return
            writer.write_eof()
            while piece := await reader.read(65536):
                answer += piece
        except OSError:  # refused in the middle, or the script's own reset
            self.answers["reset"] += 1
        finally:
            writer.transport.abort()
        for one in re.split(rb"(?=HTTP/1\.[01] \d\d\d )", answer):
            if one:
                scripted = SCRIPTED.search(one) is not None
                self.answers[one[9:12].decode("latin-1") + (" scripted" if scripted else "")] += 1
                assert scripted or not _FAULT.search(one), f"answered {one!r}"


@contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    config, ready, log = folder / "mock.yaml", folder / "ready.txt", folder / "log.txt"
    config.write_text(_CONFIG, "utf-8")
    command = [
        sys.executable,
        "-m",
        "qfkit",
        "mock",
        "--port",
        "0",
        "--config",
        str(config),
        "--ready-file",
        str(ready),
    ]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + _PATIENCE
            while not (ready.exists() and ready.read_text("utf-8").strip()):
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline, "it did not start"
                time.sleep(0.05)
            yield process, ready.read_text("utf-8").strip(), log
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def run(source: random.Random, count: int) -> None:
    """Send ``count`` requests and print what came of them.

    Raises:
        AssertionError: an answer that the service would not give, no answer, a bug in the log, or memory that grew.
    """
    with tempfile.TemporaryDirectory() as name, _server(Path(name)) as (process, url, log):
        memory = psutil.Process(process.pid)
        token = f"{url}/oauth/2.0/token?grant_type=client_credentials&client_id=wide-ak&client_secret=wide-sk"
        with urlopen(token, data=b"{}") as answer:
            access_token = json.load(answer)["access_token"]
        where = urlsplit(url)
        sending = Run((str(where.hostname), int(where.port or 0)), Requests(source, access_token), source)
        began, before = time.monotonic(), 0
        for share in _SHARES:
            asyncio.run(sending.send(round(count * share) - sending.sent))
            rss = memory.memory_info().rss
            print(f"after {sending.sent} requests: {rss / 2**20:.1f} MB, {time.monotonic() - began:.0f} s")
            before = before or rss
        with urlopen(f"{url}/metrics") as answer:
            assert answer.status == 200
        assert process.poll() is None
        text = log.read_text("utf-8", "replace")
        assert "bug" not in text, text[-4000:]
        assert "Traceback" not in text, text[-4000:]
        print("answers:", ", ".join(f"{name}: {number}" for name, number in sorted(sending.answers.items())))
        assert rss - before < max(before * 0.1, 8 * 2**20), f"memory grew from {before} to {rss} bytes"

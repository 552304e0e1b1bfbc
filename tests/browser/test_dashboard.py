"""The page as a browser shows it: Chromium runs its script against a real server and hands back what stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import unescape

import pytest
import requests

from mock_server import MockServer

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

CHAT = "/v2/chat/completions"


@pytest.fixture
def chromium(tmp_path):
    """Opens a page, lets its script run for some (virtual) seconds, and gives the document that came of it."""
    if not CHROMIUM:
        needed = "no Chromium on PATH: apt-get install chromium (Debian's package of that name)"
        if os.environ.get("CI"):
            pytest.fail(needed)
        pytest.skip(needed)

    def shown(url: str) -> str:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=4000", "--dump-dom", url,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return unescape(re.sub(r"<[^>]+>", " ", done.stdout.partition("<body>")[2]))

    return shown


def ask(server, account, text, **body):
    token = account.credentials.bearer_token
    messages = [{"role": "user", "content": text}]
    return requests.post(
        f"{server.url}{CHAT}",
        json={"model": "ernie-4.0-8k", "messages": messages, **body},
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


def test_the_page_shows_accounts_and_requests(chromium):
    with MockServer(seed=1) as server:
        shop, other = server.account(name="shop"), server.account(name="other")
        shop.fail(336501).then.reply("later", times=2)
        ask(server, shop, "你好")
        ask(server, other, "hello", stream=True)
        text = " ".join(chromium(f"{server.url}/__admin/?wait=0").split())
    assert "2 requests" in text
    assert "1 · 1 waiting" in text  # the count of shop
    assert "v2 chat" in text
    assert "429 · rpm_rate_limit_exceeded" in text
    assert "fail 336501" in text
    assert "No requests yet" not in text


def test_what_a_client_sends_stays_text(chromium):
    with MockServer() as server:
        account = server.account(name="<img src=x onerror=alert(1)>")
        ask(server, account, "x", model="<script>document.title='owned'</script>")
        text = chromium(f"{server.url}/__admin/?wait=0")
    assert "<img src=x onerror=alert(1)>" in text


def test_the_page_asks_for_the_token(chromium):
    with MockServer(admin_token="sesame-0123456789") as server:
        text = chromium(f"{server.url}/__admin/?wait=0")
    assert "admin_token" in text
    assert "connecting" in text


@pytest.mark.parametrize("path", ["", "/", "/dashboard.js", "/dashboard.css"])
def test_the_page_needs_no_other_server(path):
    with MockServer() as server:
        answer = requests.get(f"{server.url}/__admin{path}", timeout=10)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    found = set(re.findall(r"https?://[^\s\"']+", answer.text))
    assert found <= {"http://www.w3.org/2000/svg"}  # a name of a kind of document, not an address

"""One client, alone in a process: its processor time for a call, and what importing it costs.

    python -m benchmarks.callers CLIENT URL CALLS

Prints one line of JSON. Every client asks the same of the same mock, over one kept connection where it keeps one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.work import CLIENT_KEYS, PROMPT, TEXT

_MODEL = "ernie-3.5-8k"
_MESSAGES = [{"role": "user", "content": PROMPT}]
_WARM_UP = 30

Ask = Callable[[], str]


def _session(url: str) -> Ask:
    import requests

    session = requests.Session()
    headers = {"Authorization": f"Bearer {CLIENT_KEYS.bearer_token}"}
    body = {"model": _MODEL, "messages": _MESSAGES}

    def ask() -> str:
        response = session.post(f"{url}/v2/chat/completions", json=body, headers=headers, timeout=5)
        response.raise_for_status()
        return str(response.json()["choices"][0]["message"]["content"])

    return ask


def _qfkit(url: str, dialect: str) -> Ask:
    from qfkit import Client, Credentials, RateLimits

    v2 = dialect == "v2"
    keys = (
        Credentials(bearer_token=CLIENT_KEYS.bearer_token)
        if v2
        else Credentials(access_key=CLIENT_KEYS.access_key, secret_key=CLIENT_KEYS.secret_key)
    )
    dialect = "v2" if v2 else "text_generation"
    client = Client(url, keys, dialect, model=_MODEL, limits=RateLimits.off())
    return lambda: client.chat(_MESSAGES).text


def _openai(url: str) -> Ask:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v2", api_key=CLIENT_KEYS.bearer_token)

    def ask() -> str:
        answer = client.chat.completions.create(model=_MODEL, messages=[{"role": "user", "content": PROMPT}])
        return str(answer.choices[0].message.content)

    return ask


def _qianfan(url: str, version: str) -> Ask:
    os.environ.update(
        {
            "QIANFAN_BASE_URL": url,
            "QIANFAN_CONSOLE_API_BASE_URL": url,
            "QIANFAN_IAM_BASE_URL": url,
            "QIANFAN_DOT_ENV_CONFIG_FILE": os.devnull,
            "QIANFAN_DISABLE_CACHE": "true",
            "QIANFAN_ACCESS_KEY": CLIENT_KEYS.access_key,
            "QIANFAN_SECRET_KEY": CLIENT_KEYS.secret_key,
            "QIANFAN_BEARER_TOKEN": CLIENT_KEYS.bearer_token,
        }
    )
    import qianfan

    if version == "2":
        second: Any = qianfan.ChatCompletion(version="2", model=_MODEL)
        return lambda: str(second.do(messages=_MESSAGES)["choices"][0]["message"]["content"])
    first: Any = qianfan.ChatCompletion(model="ERNIE-3.5-8K")
    return lambda: str(first.do(messages=_MESSAGES)["result"])


#: Name in the table -> (the dialect it speaks here, how to make it from the mock's URL).
CALLERS: dict[str, tuple[str, Callable[[str], Ask]]] = {
    "requests.Session": ("v2", _session),
    "qfkit.Client, v2": ("v2", lambda url: _qfkit(url, "v2")),
    "qfkit.Client, signed": ("text_generation", lambda url: _qfkit(url, "text_generation")),
    "qianfan, v2": ("v2", lambda url: _qianfan(url, "2")),
    "qianfan, v1 signed": ("v1", lambda url: _qianfan(url, "1")),
    "openai": ("v2", _openai),
}


def main() -> None:
    name, url, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter()
    ask = CALLERS[name][1](url)
    import_ms = (time.perf_counter() - start) * 1000
    for _ in range(_WARM_UP):
        if (text := ask()) != TEXT:
            raise SystemExit(f"{name} read {text[:60]!r} and not the answer")
    before = time.process_time()
    for _ in range(calls):
        ask()
    used = time.process_time() - before
    print(json.dumps({"microseconds": used / calls * 1e6, "ready_ms": import_ms}))


if __name__ == "__main__":
    main()

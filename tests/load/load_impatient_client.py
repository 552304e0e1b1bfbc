"""A client of somebody's own that tries again at once: what ``--client load_impatient_client:make`` finds."""

from __future__ import annotations

import requests

from loadtests.clients import Setting


class Impatient:
    def __init__(self, setting: Setting) -> None:
        self._url = f"{setting.url}/v2/chat/completions"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {setting.environ['QIANFAN_BEARER_TOKEN']}"

    def chat(self, prompt: str) -> str:
        body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": prompt}]}
        for _ in range(5):
            answer = self._session.post(self._url, json=body, timeout=10)
            if answer.status_code == 200:
                return str(answer.json()["choices"][0]["message"]["content"])
        answer.raise_for_status()
        raise AssertionError

    def close(self) -> None:
        self._session.close()


def make(setting: Setting) -> Impatient:
    return Impatient(setting)

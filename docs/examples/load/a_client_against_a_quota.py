"""How a client of one's own meets a quota: what it offers, what is admitted, what its retries cost, and a verdict.

`qfkit load backoff --client a_client_against_a_quota:Impatient` finds the class below by its path.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import requests


class Impatient:
    """A client with four attempts and no wait between them, as many are written."""

    def __init__(self, setting):
        self.url = f"{setting.url}/v2/chat/completions"
        self.headers = {"Authorization": f"Bearer {setting.environ['QIANFAN_BEARER_TOKEN']}"}

    def chat(self, prompt):
        body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": prompt}]}
        for _ in range(4):
            answer = requests.post(self.url, json=body, headers=self.headers, timeout=10)
            if answer.status_code != 429:
                break
        answer.raise_for_status()
        return answer.json()["choices"][0]["message"]["content"]


def main() -> None:
    from mock_server import MockServer

    here = Path(__file__)
    command = [sys.executable, "-m", "qfkit", "load", "backoff", "--client", f"{here.stem}:Impatient"]
    options = ["--dialect", "v2", "--rate", "15", "--run-time", "2s", "--quota", "qps=5", "--json"]
    path = os.pathsep.join([str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with MockServer(quota="none") as server:
        done = subprocess.run(
            [*command, "--host", server.url, *options],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)["backoff"]
    print("\n".join(found["lines"]))
    assert found["amplification"] > 1.5  # it asks again within the same second, and is refused again
    assert "no-backoff" in {finding["code"] for finding in found["verdict"]["findings"]}


if __name__ == "__main__":
    main()

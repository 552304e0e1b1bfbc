"""A client of one's own against the model: whatever may happen, in any order."""

import requests
from hypothesis import settings

from qfkit.testing.stateful import Behaviour, ClientMachine

# The client under test: v2, on requests alone


class ServiceError(Exception):
    def __init__(self, answer):
        self.code = answer.json()["error"]["code"]
        self.status = answer.status_code
        self.retry_after = float(answer.headers.get("Retry-After", 0))
        super().__init__(f"{self.status} {self.code}")


RETRIED = frozenset({429, 500, 502, 503, 504})


class SmallClient:
    def __init__(self, url, key, sleep):
        self.url, self.sleep = f"{url}/v2/chat/completions", sleep
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"

    def ask(self, prompt, waits=(1, 2)):
        try:
            return self.ask_once(prompt)
        except (requests.ConnectionError, ServiceError) as error:
            if not waits or getattr(error, "status", 503) not in RETRIED:
                raise
            self.sleep(max(waits[0], getattr(error, "retry_after", 0)))
        return self.ask(prompt, waits[1:])

    def ask_once(self, prompt):
        body = {"model": "ernie-3.5-8k", "messages": [{"role": "user", "content": prompt}]}
        answer = self.session.post(self.url, json=body, timeout=10)
        if not answer.ok:
            raise ServiceError(answer)
        return answer.json()["choices"][0]["message"]["content"]


# The machine


class SmallClientMachine(ClientMachine):
    dialect = "v2"
    behaviour = Behaviour(attempts=3, retries=RETRIED)
    streams = False
    ignore = ("no-jitter", "not-retried")  # its waits are always the same, and it gives up on 408 and 409

    def make_client(self, account, clock):
        return SmallClient(account.url, account.credentials.bearer_token, clock.sleep)

    def call(self, client, prompt):
        return client.ask(prompt)

    def close(self, client):
        client.session.close()


TestSmallClient = SmallClientMachine.TestCase
TestSmallClient.settings = settings(TestSmallClient.settings, max_examples=15, stateful_step_count=20)

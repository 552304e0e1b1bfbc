"""Script what a client meets, then read what it did."""

import requests

from mock_server import MockServer

with MockServer() as server:
    account = server.account()
    account.fail("rpm_rate_limit_exceeded", retry_after=1).then.reply("好")

    def ask() -> requests.Response:
        return requests.post(
            f"{account.url}/v2/chat/completions",
            headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
            json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]},
            timeout=10,
        )

    refused, answered = ask(), ask()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert answered.json()["choices"][0]["message"]["content"] == "好"
    print(account.requests)

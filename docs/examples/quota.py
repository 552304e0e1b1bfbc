"""A quota, and what each refusal says."""

import requests

from mock_server import MockServer

with MockServer() as server:
    account = server.account().quota(rpm=2)
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}
    answers = [
        requests.post(f"{server.url}/v2/chat/completions", headers=headers, json=body, timeout=10) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["code"] == "rpm_rate_limit_exceeded"
    print(account.requests[-1].diagnosis)

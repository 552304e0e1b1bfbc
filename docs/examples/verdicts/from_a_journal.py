"""A verdict from a journal that was written down: of another process, or of yesterday."""

import json

from mock_server import MockServer
from qfkit import Client
from qfkit.grading import grade, observations

with MockServer(port=0) as server:
    account = server.account()
    with Client(base_url=account.url, credentials=account.credentials, dialect="v1") as client:
        client.chat("你好")
        account.expire_tokens()
        client.chat("再见")
    lines = account.requests.to_jsonl().splitlines()

verdict = grade(observations(map(json.loads, lines)))
print(verdict.render())
verdict.assert_ok()
assert [len(call.attempts) for call in verdict.calls] == [1, 2]  # 111, a new token, and once more

"""One JSON object a line: prompt (50 characters, keys struck out), result length, latencies, request id, tokens."""

import io
import json

from mock_server import MockServer
from qfkit import Client, RetryPolicy, configure_logging

written = io.StringIO()
configure_logging(json=True, level="DEBUG", stream=written)  # or file="api_call.jsonl"

with MockServer() as server:
    account = server.account()
    account.fail(18).then.reply("好")
    with Client(server.url, account.credentials, "v1", auth="bce-auth-v1", retry=RetryPolicy(base=0.01)) as client:
        client.chat("用Python写一个快速排序算法")

lines = [json.loads(line) for line in written.getvalue().splitlines()]
print(written.getvalue())
assert [line["event"] for line in lines] == ["start", "retry", "success"]
assert lines[-1]["result_length"] == 1
assert lines[-1]["attempts"] == 2
assert account.credentials.secret_key not in written.getvalue()

"""The reference client meets a limit and a fault, backs off, and tells what it did."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy

with MockServer() as server:
    account = server.account()
    account.fail(18).then.fail(500).then.reply("好")  # 18 comes under HTTP 200, as the service sends it
    policy = RetryPolicy(attempts=4, base=0.05)
    with Client(server.url, account.credentials, "v1", retry=policy) as client:
        reply = client.chat("你好", temperature=0.7)
    for attempt in reply.attempts:
        print(attempt.number, attempt.status, attempt.code, f"waited {attempt.waited:.3f} s", attempt.wait_reason)
    assert [attempt.code for attempt in reply.attempts] == [18, 336000, None]
    assert reply.text == "好"

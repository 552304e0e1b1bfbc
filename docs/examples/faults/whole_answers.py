"""Answers that never come, come slowly, or are no answers; a client that retries gets through all of them."""

from mock_server import MockServer
from qfkit import Client, QianfanError, RetryPolicy

FAULTS = (
    ("close", {}),
    ("reset", {}),
    ("reset", {"after_bytes": 40}),
    ("hang", {}),
    ("slow-headers", {"interval": 0.001}),
    ("slow-body", {"interval": 0.001, "bytes_per_write": 50}),
    ("wrong-length", {"by": 10}),
    ("bad-gzip", {"how": "truncated"}),
    ("garbage", {}),
    ("bad-status-line", {}),
    ("malformed-chunk", {}),
    ("html", {}),
    ("proxy-error", {"status": 504, "delay": 0.01}),
    ("large-body", {"size": 1_000_000}),
)

with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials, retry=RetryPolicy(attempts=1), timeout=0.3)
    for kind, options in FAULTS:
        account.fault(kind, **options)
        try:
            reply = client.chat("你好")
        except QianfanError as error:
            print(f"{kind}: {type(error).__name__}")
        else:
            print(f"{kind}: an answer of {len(reply.text)} characters")

    # A reset is worth another attempt.
    patient = Client(server.url, account.credentials, retry=RetryPolicy(attempts=3, base=0.01))
    account.fault("reset", times=2).then.reply("好了")
    assert patient.chat("你好").text == "好了"
    print([entry.answered_by for entry in account.requests[-3:]])
    client.close()
    patient.close()

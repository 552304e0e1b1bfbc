"""The signature is made for you, afresh for each attempt; what the tutorial writes by hand is one call."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy

with MockServer() as server:
    account = server.account()
    account.fail(500).then.reply("def quick_sort(numbers): ...")
    with Client(server.url, account.credentials, retry=RetryPolicy(base=0.01)) as client:
        print(client.chat("用Python写一个快速排序算法").text)
    first, second = account.requests
    for entry in (first, second):
        print(entry.signature)
        assert entry.signature.ok
    assert dict(first.headers)["X-Bce-Nonce"] != dict(second.headers)["X-Bce-Nonce"]  # a signature is good but once

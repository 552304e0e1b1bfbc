"""What arrived: filtered, verified, written down."""

import json

from mock_server import MockServer
from qfkit import Client
from qfkit.testing.clock import SkippingClock

with MockServer() as server:
    account = server.account()
    account.fail(18).then.reply("晴")
    with Client(server.url, account.credentials, "v1", clock=SkippingClock()) as client:
        client.chat("北京天气")

    account.requests.verify(exactly=1, code=18)
    account.requests.verify(at_least=1, ok=True, contains="天气")
    account.requests.verify_in_order([{"operation": "chat", "ok": False}, {"operation": "chat", "ok": True}])

    try:
        account.requests.verify(exactly=2, model="ernie-3.5-9k")
    except AssertionError as failed:
        print(failed)  # what came instead, with the first difference marked

    chat = account.requests.where(operation="chat")[-1]
    print(chat.response.json["result"], chat.ending, f"{chat.sent_bytes} bytes")

    lines = account.requests.to_jsonl().splitlines()
    archive = account.requests.to_har()
    assert len(lines) == len(archive["log"]["entries"]) == len(account.requests)
    assert account.credentials.sk not in json.dumps(archive)

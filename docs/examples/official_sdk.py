"""The official SDK, unmodified, against the mock: only its environment variables change."""

import os

from mock_server import MockServer

with MockServer() as server:
    account = server.account()
    os.environ.update(account.env())

    import qianfan  # reads the environment when it is imported

    account.stream(["你", "好"])
    chat = qianfan.ChatCompletion()
    text = "".join(event["result"] for event in chat.do(messages=[{"role": "user", "content": "你好"}], stream=True))
    assert text == "你好"
    assert account.requests[-1].dialect == "v1"

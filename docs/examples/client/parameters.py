"""Parameters go to the service under its own names; what it does not take, it says."""

from mock_server import MockServer
from qfkit import BadRequestError, Client

with MockServer() as server:
    account = server.account()
    with Client(server.url, account.credentials) as client:
        history = [
            {"role": "user", "content": "你好"},
            {"role": "assistant", "content": "你好, 有什么可以帮你?"},
            {"role": "user", "content": "写一句诗"},
        ]
        reply = client.chat(history, temperature=0.7, top_p=0.8, max_tokens=2048)
        print(reply.text, reply.usage, reply.finish_reason)
        assert account.requests[-1].json == {
            "messages": history,
            "temperature": 0.7,
            "top_p": 0.8,
            "max_tokens": 2048,
        }

        try:
            client.chat("你好", temperature=1.7)  # 0.1 to 1.0
        except BadRequestError as error:
            print(error)
        else:
            raise AssertionError("out of range")

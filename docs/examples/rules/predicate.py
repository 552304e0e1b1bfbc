"""A rule of your own: a function that looks at the question, in a thread, so that nobody else waits for it."""

from mock_server import MockServer
from mock_server.matching import Question
from qfkit import Client, RetryPolicy


def is_long(question: Question) -> bool:
    """More than twenty characters in all that was said."""
    return sum(map(len, question.texts)) > 20


with MockServer() as server:
    account = server.account()
    rule = account.on(where=is_long, priority=1).reply("太长")
    account.on(call=1).reply("first")  # the very first that comes
    account.reply("second")

    client = Client(server.url, account.credentials, dialect="v2", retry=RetryPolicy(attempts=1))
    assert client.chat("你好", model="ernie-4.0-8k").text == "first"
    assert client.chat("你好", model="ernie-4.0-8k").text == "second"
    assert client.chat("春江潮水连海平，海上明月共潮生，滟滟随波千万里", model="ernie-4.0-8k").text == "太长"
    assert rule.times_met == 1
    assert account.unmet == []
    client.close()

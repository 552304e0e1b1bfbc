"""States and loops: an outage that begins, ends, and comes again."""

from mock_server import MockServer
from qfkit import Client, QianfanError, RetryPolicy

with MockServer() as server:
    account = server.account()
    # Every second answer is followed by an outage of three requests.
    account.on(state="start").reply("好", times=2).enter("down").loop()
    account.on(state="down").fail(503, times=3).enter("start").loop()

    client = Client(server.url, account.credentials, dialect="v2", retry=RetryPolicy(attempts=1))

    def ask() -> str:
        try:
            return client.chat("你好", model="ernie-4.0-8k").text
        except QianfanError:
            return "-"

    seen = [ask() for _ in range(10)]
    print("".join(seen))
    assert "".join(seen) == "好好---好好---"
    assert account.state == "start"

    # The same as data, as a configuration file and the control API have it.
    account.reset()
    again = {"loop": "forever"}
    account.add_rule({"on": {"state": "start"}, "script": [{"reply": "好", "times": 2, "enter": "down"}, again]})
    account.add_rule({"on": {"state": "down"}, "script": [{"fail": 503, "times": 3, "enter": "start"}, again]})
    assert "".join(ask() for _ in range(6)) == "好好---好"
    client.close()

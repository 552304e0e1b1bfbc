"""The same faults as data: what a configuration file holds, `account.play` takes."""

import yaml

from mock_server import MockServer
from qfkit import Client, QianfanError, RetryPolicy

SCRIPT = """
- stream: [你, 好]
  ttft: 0.02
  interval: 0.01
- stream: 床前明月光
  chunk: character
  cut_after: 3
  cut: reset
- reply: 你好
  writes: inside-characters
- fault: reset
  times: 2
- fault: proxy-error
  status: 503
"""

with MockServer() as server:
    account = server.account().play(yaml.safe_load(SCRIPT))
    client = Client(server.url, account.credentials, retry=RetryPolicy(attempts=1))
    while waiting := account.waiting:
        try:
            text = "".join(chunk.text for chunk in client.stream("你好"))
        except QianfanError as error:
            text = type(error).__name__
        print(f"{waiting[0]}: {text}")
    assert len(account.requests) == 6
    client.close()

"""A client that comes back earlier than it was asked to is told off; one that waits is not."""

import requests

from mock_server import MockServer
from qfkit import Client

with MockServer(port=0) as server:
    bad = server.account()
    bad.fail(429, retry_after=60).then.reply("好")
    question = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}
    headers = {"Authorization": f"Bearer {bad.credentials.bearer_token}"}
    while requests.post(f"{bad.url}/v2/chat/completions", json=question, headers=headers, timeout=5).status_code != 200:
        pass
    verdict = bad.verdict()
    print(verdict.render())
    assert verdict.codes == ("retry-after-undercut",)

    good = server.account()
    good.fail(429, retry_after=0.2).then.reply("好")
    with Client(base_url=good.url, credentials=good.credentials, dialect="v2") as client:
        client.chat("你好")
    good.verdict().assert_ok()

"""A client that raises an error on a stream that broke off is right: the test says that it did."""

from mock_server import MockServer
from qfkit import Client, StreamTruncated

with MockServer(port=0) as server:
    account = server.account()
    account.stream(["春眠", "不觉晓"], cut_after=1)
    with Client(base_url=account.url, credentials=account.credentials) as client:
        try:
            for chunk in client.stream("背一首诗"):
                print(chunk.text)
        except StreamTruncated:
            account.noticed()
    account.verdict().assert_ok()

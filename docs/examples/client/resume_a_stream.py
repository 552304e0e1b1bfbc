"""A stream that breaks off in the middle goes on, where the caller chooses so."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy

POEM = ["床前", "明月光, ", "疑是", "地上霜"]

with MockServer() as server:
    account = server.account()
    with Client(server.url, account.credentials, "v1", retry=RetryPolicy(base=0.01)) as client:
        # replay asks again and leaves out what was said before: for answers that come out the same.
        account.stream(POEM, cut_after=2).then.stream(POEM)
        stream = client.stream("背诗", resume="replay")
        assert "".join(chunk.text for chunk in stream) == "".join(POEM)
        print(stream.text, [attempt.wait_reason for attempt in stream.attempts])

        # continue shows the model what it said so far, and asks for the rest.
        account.stream(POEM, cut_after=2).then.stream(POEM[2:])
        stream = client.stream("背诗", resume="continue")
        assert "".join(chunk.text for chunk in stream) == "".join(POEM)
    print([message["content"] for message in account.requests[-1].json["messages"]])

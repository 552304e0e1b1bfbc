"""An answer as it is written, when its first word came, and what is known when it breaks off."""

from mock_server import MockServer
from qfkit import Client, StreamTruncated

with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials, "v2")

    account.stream(["床前", "明月光"])
    with client.stream("背一句诗") as stream:
        for chunk in stream:
            print(chunk.text, end="", flush=True)
    print(f"\nfirst word after {stream.ttft:.3f} s, all after {stream.latency:.3f} s, {stream.usage}")
    assert stream.complete

    # Leaving the block, or the loop, closes the connection: the service stops writing.
    account.stream(["一", "二", "三"])
    with client.stream("数数") as stream:
        print(next(stream).text)

    # An answer that ends before the service says so is no answer; what came is there.
    account.stream(["疑是", "地上霜"], cut_after=1)
    stream = client.stream("下一句")
    try:
        for chunk in stream:
            print(chunk.text)
    except StreamTruncated as error:
        broken = error
    print(broken)
    assert broken.text == "疑是"
    client.close()

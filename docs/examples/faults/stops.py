"""Streams that fall silent or break off, and what a client makes of it."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy, StreamError

with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials, dialect="v2", retry=RetryPolicy(attempts=1), timeout=0.2)

    def read() -> tuple[str, str]:
        """The text that came, and how it ended."""
        text = ""
        try:
            for chunk in client.stream("你好"):
                text += chunk.text
        except StreamError as error:
            return text, type(error).__name__
        return text, "complete"

    # Exactly two events come, and then: the body lacks its end, the connection is reset, or only the sign of the end
    # is missing from a body that is whole.
    for cut in ("incomplete", "reset", "clean"):
        account.stream(["床", "前", "明", "月", "光"], cut_after=2, cut=cut)
        text, how = read()
        assert text == "床前"
        assert how != "complete"
        print(f"cut={cut}: {how}")

    # Silence for a while, which a patient client sits out ...
    account.stream(["床", "前", "明"], stall_after=1, stall=0.05)
    assert read() == ("床前明", "complete")

    # ... and for ever, which only its time-out ends.
    account.stream(["床", "前", "明"], stall_after=1)
    text, how = read()
    assert text == "床"
    print(f"a stall for ever: {how}")
    client.close()

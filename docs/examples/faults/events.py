"""Events that are wrong: an error in the middle, broken JSON, disorder, things left out."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy, StreamError

with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials, dialect="v1", retry=RetryPolicy(attempts=1))

    def outcome() -> str:
        """The text, or the error that reading it ended in."""
        text = ""
        try:
            for chunk in client.stream("你好"):
                text += chunk.text
        except StreamError as error:
            return f"{text} and then {type(error).__name__}"
        return text

    # An error in the middle, in the dialect's own form: as an event, or as the bare line that v1's clients expect.
    account.stream(["春", "夏", "秋"], error_after=1, error=336100)
    account.stream(["春", "夏", "秋"], error_after=1, error=336100, error_form="line")
    assert outcome().startswith("春 and then")
    assert outcome().startswith("春 and then")

    # JSON that is none.
    account.stream(["春", "夏", "秋"], malformed_at=1)
    account.stream(["春", "夏", "秋"], truncated_at=1)
    assert outcome().startswith("春 and then")
    assert outcome().startswith("春 and then")

    # Twice, out of order, with comments between: all of it legal, none of it polite.
    account.stream(["春", "夏", "秋"], duplicate=0)
    account.stream(["春", "夏", "秋"], swap=[0, 1])
    account.stream(["春", "夏", "秋"], comment_every=1)
    print(outcome(), outcome(), outcome())

    # No sign of the end.
    account.stream(["春", "夏", "秋"], end_event=False)
    print(outcome())
    client.close()

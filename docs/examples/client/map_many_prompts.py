"""Many questions, five at a time: answers in order, and one that fails loses nothing else."""

from collections.abc import Iterator

from mock_server import MockServer
from qfkit import Client, QianfanError

with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials)

    def questions() -> Iterator[str]:
        """A million of them: never in memory, they are taken as answers are."""
        for number in range(1_000_000):
            yield f"{number} 的平方是多少?" if number != 3 else ""  # an empty one, which the service refuses

    failed = 0
    with client.map(questions(), max_workers=5, temperature=0.7) as replies:
        for number, reply in enumerate(replies):
            if isinstance(reply, QianfanError):
                failed += 1
                print(number, "failed:", reply.summary)
            else:
                print(number, reply.text[:30])
            if number == 9:
                break  # leaving the block cancels what has not begun
    assert failed == 1
    assert len(account.requests) <= 30
    client.close()

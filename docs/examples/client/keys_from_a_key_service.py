"""Keys from a key service, rotated while the client works: a refusal makes it ask the service once more."""

from mock_server import MockServer
from qfkit import Client, Credentials

with MockServer() as server:
    account = server.account()
    vault = {"qianfan": account.credentials}
    asked: list[str] = []

    def key_service() -> Credentials:
        """Any callable will do: Vault, a cloud's secret manager, a database."""
        asked.append("qianfan")
        return vault["qianfan"]

    with Client(server.url, key_service) as client:
        client.chat("一")
        client.chat("二")
        assert len(asked) == 1  # keys are kept for 300 s, or for the provider's own `max_age`

        vault["qianfan"] = account.rotate(keep_old=False)
        reply = client.chat("三")
    print([(attempt.status, attempt.wait_reason) for attempt in reply.attempts])
    assert [attempt.status for attempt in reply.attempts] == [401, 200]
    assert len(asked) == 2

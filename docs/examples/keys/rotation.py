"""Keys that change while a client works, and tokens that are taken back."""

from mock_server import MockServer
from qfkit import Client, Credentials
from qfkit.client import AuthenticationError

with MockServer() as server:
    account = server.account()
    old = account.credentials

    # A key service hands out the new keys once they are there: the client asks it again when it is refused.
    current: list[Credentials] = [old]
    with Client(server.url, lambda: current[-1]) as client:
        client.chat("一")
        current.append(account.rotate(keep_old=False))
        reply = client.chat("二")
        print([attempt.status for attempt in reply.attempts])

    # For a while both are good; the journal tells who still uses the old ones.
    newest = account.credentials
    account.rotate(keep_old=True)
    with Client(server.url, newest) as client:
        client.chat("三")
        print(account.requests[-1].findings)
        account.retire_old_keys()
        try:
            client.chat("四")
        except AuthenticationError as error:
            print(error.diagnosis)

    # Tokens expire (111), or are revoked in the middle of a run (110); the client buys another.
    with Client(server.url, account.credentials, "v1") as client:
        client.chat("五")
        account.revoke_tokens()
        print([attempt.code for attempt in client.chat("六").attempts])

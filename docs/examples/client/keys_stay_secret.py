"""Keys show up nowhere: not in a repr, not in a log, not in an exception. Clients share the tokens that keys buy."""

import io
import logging
import traceback

from mock_server import MockServer
from qfkit import AuthenticationError, Client, Credentials, SharedTokens, configure_logging

log = io.StringIO()
configure_logging(level=logging.DEBUG, stream=log)

with MockServer() as server:
    account = server.account()
    keys = account.credentials
    wrong = Credentials(access_key=keys.access_key, secret_key="not-the-secret-key-0123456789")
    with Client(server.url, wrong) as client:
        try:
            client.chat(f"我的密钥是 {wrong.secret_key}")
        except AuthenticationError as error:
            shown = "".join(traceback.format_exception(error)) + repr(error.attempts)
            print(error.diagnosis)  # what was wrong, without saying a key
    everything = shown + log.getvalue() + repr(client) + repr(wrong)
    assert wrong.secret_key not in everything

    tokens = SharedTokens()  # v1 buys an access token: one for all clients with the same keys
    for _ in range(3):
        with Client(server.url, Credentials(ak=keys.ak, sk=keys.sk), "v1", tokens=tokens) as client:
            client.chat("你好")
    assert [entry.operation for entry in account.requests].count("chat") == 4
    print([entry.operation for entry in account.requests])

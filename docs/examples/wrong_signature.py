"""A client that signs one text and sends another: what the service says, and what the mock adds."""

import time

import requests

from mock_server import MockServer
from qfkit.protocol.signing import sign_hmac

PATH = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"

with MockServer() as server:
    account = server.account()
    headers = sign_hmac(
        access_key=account.credentials.access_key,
        secret_key=account.credentials.secret_key,
        method="POST",
        target=PATH,
        body=b'{"messages":[{"role":"user","content":"hi"}]}',
        timestamp=int(time.time()),
        nonce="1",
    )
    # requests writes the JSON itself, with spaces: other bytes than those that were signed.
    answer = requests.post(
        server.url + PATH, headers=headers, json={"messages": [{"role": "user", "content": "hi"}]}, timeout=10
    )
    verdict = account.requests[-1].signature
    print(answer.status_code, answer.text)
    print(verdict.render())
    assert verdict.cause == "body-reserialised"

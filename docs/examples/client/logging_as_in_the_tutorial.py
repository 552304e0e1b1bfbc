"""The tutorial's own set-up: `logging.basicConfig` with a file. The client's lines are in it, with no more to do."""

import logging
from pathlib import Path

from mock_server import MockServer
from qfkit import Client

logging.basicConfig(
    filename="api_call.log", level=logging.INFO, format="%(asctime)s - %(levelname)s - %(message)s", encoding="utf-8"
)
logging.getLogger("qfkit").setLevel(logging.DEBUG)  # also the line at the start of each call

with MockServer() as server:
    account = server.account()
    with Client(server.url, account.credentials) as client:
        prompt = "什么是量子计算?"
        result = client.chat(prompt)

log = Path("api_call.log").read_text("utf-8")
print(log)
assert prompt[:50] in log
assert f"{len(result.text)} characters" in log
assert account.credentials.secret_key not in log

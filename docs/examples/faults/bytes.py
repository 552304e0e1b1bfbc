"""The same events in other bytes: a right client notices nothing."""

from mock_server import MockServer
from qfkit import Client

WAYS = (
    {"newline": "\r\n"},
    {"newline": "\r"},
    {"bom": True},
    {"writes": "byte"},
    {"writes": "byte-chunks"},
    {"writes": "inside-characters", "write_interval": 0.002},
    {"writes": "inside-chunk-headers", "write_interval": 0.002},
    {"writes": "one-segment"},
    {"events_per_write": 2},
    {"early_headers": False, "ttft": 0.02},
    {"final_newline": False},
)

with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials, dialect="v2")
    for options in WAYS:
        account.stream(["春江", "潮水", "连海平"], **options)
        text = "".join(chunk.text for chunk in client.stream("背一句诗"))
        assert text == "春江潮水连海平", options
    print(f"{len(WAYS)} ways to say {text}")
    client.close()

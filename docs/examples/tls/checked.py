"""A mock that speaks https, and a client that checks its certificate."""

import ssl

import requests

from mock_server import MockServer
from qfkit import Client

with MockServer(tls=True) as server:
    account = server.account().reply("你好")
    with requests.Session() as session:
        session.verify = server.ca_file  # trust the throw-away authority; never switch the check off
        with Client(server.url, account.credentials, "v2", session=session) as client:
            print(client.chat("?").text)

    # What the environment of a child process needs, beside the keys.
    env = account.env()
    assert env["REQUESTS_CA_BUNDLE"] == env["SSL_CERT_FILE"] == server.ca_file

    # httpx, aiohttp and everything else that takes an SSL context.
    assert ssl.create_default_context(cafile=server.ca_file).verify_mode is ssl.CERT_REQUIRED

    try:
        requests.get(server.url, timeout=5)
    except requests.exceptions.SSLError:
        print("who does not trust the authority gets no answer")

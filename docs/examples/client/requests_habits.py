"""Proxies, certificates, adapters and hooks: give the client a `requests.Session` of your own."""

import requests
from requests.adapters import HTTPAdapter

from mock_server import MockServer
from qfkit import Client

seen = []
with MockServer() as server, requests.Session() as session:
    session.proxies = {"https": "http://proxy.example:3128"}  # the mock is asked over http, and so without it
    session.verify = True  # or the path of a certificate authority's file
    session.mount("http://", HTTPAdapter(pool_maxsize=20))  # let the client retry, and not the adapter
    session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
    session.headers["X-Team"] = "blue"

    account = server.account()
    with Client(server.url, account.credentials, session=session, timeout=(3, 30)) as client:
        client.chat("你好")
    assert ("X-Team", "blue") in account.requests[0].headers
    assert seen == [200]
    print(session.get(server.url + "/__admin/health", timeout=5).status_code)  # the session is still yours

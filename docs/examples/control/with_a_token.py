"""A server with a token: needed where other machines can reach it, allowed everywhere."""

import requests

from mock_server import MockServer

with MockServer(admin_token="a secret of your own") as server:
    accounts = f"{server.url}/__admin/accounts"
    assert requests.get(accounts, timeout=10).status_code == 401
    headers = {"Authorization": "Bearer a secret of your own"}
    assert requests.get(accounts, headers=headers, timeout=10).status_code == 200
    assert requests.get(f"{server.url}/metrics", headers=headers, timeout=10).status_code == 200

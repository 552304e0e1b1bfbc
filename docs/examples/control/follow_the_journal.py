"""Wait for a request over HTTP: the answer comes when there is one, and at the latest after `wait` seconds."""

import threading

import requests

from mock_server import MockServer

with MockServer() as server:
    token = server.account().credentials.bearer_token
    headers = {"Authorization": f"Bearer {token}"}
    chat = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}
    url = f"{server.url}/v2/chat/completions"
    client = threading.Thread(target=requests.post, args=(url,), kwargs={"json": chat, "headers": headers})
    client.start()

    params = {"after": 0, "wait": 20}
    page = requests.get(f"{server.url}/__admin/journal", params=params, timeout=30).json()
    print(page["entries"][0]["target"], page["entries"][0]["account"])
    client.join()
    assert page["entries"][0]["model"] == "ernie-4.0-8k"

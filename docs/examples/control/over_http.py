"""What a test in any language does: an account of its own, a script, and what came of it, all over HTTP."""

import requests

from mock_server import MockServer

with MockServer() as server:  # in CI: `qfkit mock`, and its URL
    admin = f"{server.url}/__admin"

    # Keys are shown this once; `env` holds the variables that point the official SDK, openai and qfkit here.
    account = requests.post(f"{admin}/accounts", json={"name": "shop"}, timeout=10).json()
    shop = f"{admin}/accounts/shop"

    # Steps are written as in the configuration file.
    steps = [{"fail": "rpm_rate_limit_exceeded", "retry_after": 1}, {"reply": "晴, 25 度"}]
    requests.post(f"{shop}/scenario/steps", json={"steps": steps}, timeout=10).raise_for_status()

    # The program under test ...
    headers = {"Authorization": f"Bearer {account['credentials']['bearer_token']}"}
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "天气?"}]}
    for _ in range(2):
        requests.post(f"{server.url}/v2/chat/completions", headers=headers, json=body, timeout=10)

    # ... and what it did.
    check = {"where": {"model": "ernie-4.0-8k"}, "exactly": 2}
    verdict = requests.post(f"{shop}/journal/verify", json=check, timeout=10).json()
    assert verdict["ok"], verdict["message"]
    seen = requests.get(f"{shop}/journal", params={"ok": "true"}, timeout=10).json()
    assert [entry["status"] for entry in seen["entries"]] == [200]

    # A mistake is told with its place, and the nearest good key.
    wrong = requests.post(f"{shop}/scenario/steps", json={"steps": [{"fial": 18}]}, timeout=10)
    assert wrong.status_code == 400
    print(wrong.json()["error"]["message"])

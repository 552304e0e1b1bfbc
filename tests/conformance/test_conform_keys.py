"""Clients that sign, and clients that buy tokens: sound ones pass, each bad one is caught by the cases about it."""

from __future__ import annotations

import json

import pytest

CLIENTS = """
import base64, hashlib, hmac, json, secrets, time
import requests
from qfkit.testing.conformance import CASES, Conformance

PATH = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"


class Failed(Exception):
    pass


class Signed(Conformance):
    '''text_generation, signed by the tutorial's rules.'''
    dialect = "text_generation"
    streams = False
    errors = (Failed,)
    cases = [case for case in CASES if case.area == "signature"]

    def nonce(self):
        return secrets.token_hex(8)

    def sent(self, body):
        return body

    def headers(self, body):
        key, now, nonce = self.env["QIANFAN_SECRET_KEY"], str(int(time.time())), self.nonce()
        text = b"\\n".join([b"POST", PATH.encode(), body, now.encode(), nonce.encode()])
        signature = base64.b64encode(hmac.new(key.encode(), text, hashlib.sha256).digest()).decode()
        access = self.env["QIANFAN_ACCESS_KEY"]
        return {"X-Bce-AccessKey": access, "X-Bce-Timestamp": now, "X-Bce-Nonce": nonce, "X-Bce-Signature": signature}

    def attempts(self, body):
        for _ in range(3):
            yield self.headers(body)

    def call(self, prompt):
        body = json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode()
        for number, headers in enumerate(self.attempts(body)):
            time.sleep(number)
            url = self.env["QIANFAN_BASE_URL"] + PATH
            answer = requests.post(url, data=self.sent(body), headers=headers, timeout=30)
            if answer.status_code == 200:
                return answer.json()["result"]
            if answer.status_code < 429:
                break
        raise Failed(answer.status_code)


class TestSigned(Signed):
    pass


class TestSameNonce(Signed):
    def nonce(self):
        return "12345"


class TestSerialisedTwice(Signed):
    def sent(self, body):
        return json.dumps(json.loads(body), ensure_ascii=False).encode()


class TestSignedOnce(Signed):
    def attempts(self, body):
        return [self.headers(body)] * 3


class TestSecretSent(Signed):
    def headers(self, body):
        return {**super().headers(body), "X-Debug": self.env["QIANFAN_SECRET_KEY"]}


class Tokens(Conformance):
    '''v1, with tokens of OAuth.'''
    dialect = "v1"
    streams = retries = False
    errors = (Failed,)
    cases = [case for case in CASES if case.area == "tokens" or case.name in ("errors/17", "errors/336003")]
    renewals = 1

    def make(self, env):
        self.token = None

    def fetch(self):
        query = {"grant_type": "client_credentials", "client_id": self.env["QIANFAN_AK"]}
        query["client_secret"] = self.env["QIANFAN_SK"]
        answer = requests.post(self.env["QIANFAN_BASE_URL"] + "/oauth/2.0/token", params=query, timeout=30)
        return answer.json()["access_token"]

    def result(self, answer):
        if "error_code" in answer:
            raise Failed(answer["error_code"])
        return answer["result"]

    def call(self, prompt):
        for _ in range(1 + self.renewals):
            self.token = self.token or self.fetch()
            answer = requests.post(
                self.env["QIANFAN_BASE_URL"] + V1, params={"access_token": self.token}, timeout=30,
                json={"messages": [{"role": "user", "content": prompt}]},
            ).json()
            if answer.get("error_code") not in (110, 111):
                break
            self.token = None
        return self.result(answer)


class TestTokens(Tokens):
    pass


class TestNeverRenews(Tokens):
    renewals = 0


class TestRenewsForEver(Tokens):
    renewals = 20


class TestForgets(Tokens):
    def call(self, prompt):
        self.token = None
        return super().call(prompt)


class TestCountsOnTheStatus(Tokens):
    def result(self, answer):
        return answer.get("result", "")
"""

#: Suite -> the cases that it has to fail, all others pass.
CAUGHT = {
    "TestSigned": set(),
    "TestSameNonce": {"signature/each-attempt", "signature/nonces"},
    "TestSerialisedTwice": {
        f"signature/{name}" for name in ("accepted", "any-text", "each-attempt", "no-secret", "nonces")
    },
    "TestSignedOnce": {"signature/each-attempt"},
    "TestSecretSent": {"signature/no-secret"},
    "TestTokens": set(),
    "TestNeverRenews": {"tokens/expired", "tokens/revoked"},
    "TestRenewsForEver": {"tokens/never-good"},
    "TestForgets": {"tokens/kept", "tokens/expired", "tokens/revoked"},
    "TestCountsOnTheStatus": {"errors/17", "errors/336003", "tokens/never-good"},
}


def test_each_is_caught_by_what_is_about_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(CLIENTS)
    pytester.runpytest_subprocess("-p", "qfkit.testing.plugin", "--tb=no", "--qianfan-conformance-json=out.json")
    suites = json.loads((pytester.path / "out.json").read_text("utf-8"))["suites"]
    found = {
        suite["suite"]: {case["name"] for case in suite["cases"] if case["result"] == "failed"} for suite in suites
    }
    assert found == CAUGHT
    passed = {suite["suite"]: suite["counts"]["passed"] for suite in suites}
    assert (passed["TestSigned"], passed["TestTokens"]) == (5, 6)

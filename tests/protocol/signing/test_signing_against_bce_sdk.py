"""Our bce-auth-v1 against the official signer of bce-python-sdk, over generated requests."""

from __future__ import annotations

import string
import warnings
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import Reason, canonical_request, sign_bce, verify_bce

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK has escapes and calls that new Pythons warn of; they are not ours to mend
    from baidubce.auth.bce_credentials import BceCredentials
    from baidubce.auth.bce_v1_signer import sign

pytestmark = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp.*:DeprecationWarning")

ACCESS_KEY = "ALTAKFAKEACCESSKEY000000"
SECRET_KEY = "0123456789abcdef0123456789abcdef"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
odd = st.text(string.ascii_letters + string.digits + " +/%&=?#;:,!'()*~-._@[]{}\"\\你好", max_size=8)
segment = st.text(string.ascii_letters + string.digits + "-._~", max_size=8) | st.text("测试 a/+%", max_size=4).map(
    lambda raw: quote(raw, safe="")
)
paths = st.lists(segment, max_size=5).map(lambda segments: "/" + "/".join(segments))
names = st.sampled_from(["content-type", "content-length", "content-md5", "request_id", "request-source", "x-other"])
bce_names = st.text(string.ascii_lowercase + "-", min_size=1, max_size=6).map("x-bce-".__add__)
hosts = st.sampled_from(["aip.baidubce.com", "127.0.0.1:18991", " localhost:8080 ", "[::1]:80", "h"])


@dataclass(frozen=True)
class Case:
    method: str
    path: str
    query: dict[str, str | None]
    headers: dict[str, str]
    listed: list[str]
    timestamp: int
    expiration: int

    def official(self, path: str | None = None) -> str:
        signed: bytes = sign(
            BceCredentials(ACCESS_KEY, SECRET_KEY),
            self.method.encode(),
            (self.path if path is None else path).encode(),
            {name.encode(): value for name, value in self.headers.items()},
            {name.encode(): value for name, value in self.query.items()},
            timestamp=self.timestamp,
            expiration_in_seconds=self.expiration,
            headers_to_sign=[name.encode() for name in self.listed],
        )
        return signed.decode()

    def ours(self) -> str:
        return sign_bce(
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            method=self.method,
            path=self.path,
            params=self.query,
            headers=self.headers,
            timestamp=self.timestamp,
            expiration=self.expiration,
            signed_headers=self.listed,
        )

    def request(self, authorization: str, quoting: object = quote) -> HttpRequest:
        query = urlencode([(name, value or "") for name, value in self.query.items()], quote_via=quoting)  # type: ignore[arg-type]
        target = f"{self.path}?{query}" if query else self.path
        return HttpRequest(self.method, target, (*self.headers.items(), ("Authorization", authorization)))


@st.composite
def cases(draw: st.DrawFn, *, all_bce_listed: bool) -> Case:
    host = draw(st.sampled_from(["Host", "host", "HOST"]))
    spelling = draw(st.sampled_from([str, str.upper, str.title]))
    headers = {host: draw(hosts)}
    for name in draw(st.lists(names | bce_names, max_size=5, unique=True)):
        headers[spelling(name)] = draw(text | odd)
    present = [name.lower() for name in headers]
    listed: list[str] = []
    if draw(st.booleans()):
        chosen = set(draw(st.lists(st.sampled_from(present), unique=True))) | {"host"}
        if all_bce_listed:
            chosen |= {name for name in present if name.startswith("x-bce-")}
        listed = draw(st.permutations(sorted(chosen)))
    keys = (text | odd).filter(lambda key: key.lower() != "authorization")
    return Case(
        method=draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"])),
        path=draw(paths),
        query=draw(st.dictionaries(keys, st.none() | text | odd, max_size=4)),
        headers=headers,
        listed=listed,
        timestamp=draw(st.integers(1, 4_000_000_000)),
        expiration=draw(st.sampled_from([1, 60, 300, 1800, 86400])),
    )


@settings(max_examples=1500, deadline=None)
@given(case=cases(all_bce_listed=True))
def test_both_signers_agree_and_the_verifier_takes_it_as_sent(case: Case) -> None:
    signed = case.official()
    assert case.ours() == signed
    assert verify_bce(case.request(signed), SECRET_KEY, now=case.timestamp).form == "as-sent"


@settings(max_examples=700, deadline=None)
@given(case=cases(all_bce_listed=False))
def test_the_verifier_takes_whatever_the_official_signer_signs(case: Case) -> None:
    from urllib.parse import quote_plus

    verdict = verify_bce(case.request(case.official(), quote_plus), SECRET_KEY, now=case.timestamp + case.expiration)
    unlisted = [
        name
        for name, value in case.headers.items()
        if name.lower().startswith("x-bce-") and case.listed and name.lower() not in case.listed
        if value.encode().strip()
    ]
    assert verdict.form == ("unlisted-x-bce" if unlisted else "as-sent")


@settings(max_examples=200, deadline=None)
@given(case=cases(all_bce_listed=True), segments=st.lists(st.text("测试ab ", min_size=1), min_size=1, max_size=3))
def test_the_verifier_takes_a_path_signed_before_it_was_encoded(case: Case, segments: list[str]) -> None:
    # The Python SDK signs the path it was given and leaves the encoding to its HTTP library.
    raw = "/" + "/".join(segments)
    sent = Case(
        case.method, quote(raw), case.query, case.headers, case.listed, timestamp=case.timestamp, expiration=300
    )
    verdict = verify_bce(sent.request(sent.official(path=raw)), SECRET_KEY, now=case.timestamp)
    assert verdict.form == ("path-decoded" if quote(raw) != raw else "as-sent")


@settings(max_examples=100, deadline=None)
@given(case=cases(all_bce_listed=True), key=st.sampled_from(["authorization", "Authorization", "AUTHORIZATION"]))
def test_the_verifier_takes_the_authorization_key_in_the_query_both_ways(case: Case, key: str) -> None:
    case.query[key] = "zzz"
    official = case.official()
    assert verify_bce(case.request(official), SECRET_KEY, now=case.timestamp).form == "authorization-in-query"
    assert verify_bce(case.request(case.ours()), SECRET_KEY, now=case.timestamp).form == "as-sent"


@settings(max_examples=200, deadline=None)
@given(case=cases(all_bce_listed=True), data=st.data())
def test_the_verifier_refuses_what_was_changed_on_the_way(case: Case, data: st.DataObject) -> None:
    signed = case.official()
    changed = data.draw(st.sampled_from(["method", "path", "query", "header", "secret", "signature", "date"]))
    secret = SECRET_KEY
    headers, query, path, method = dict(case.headers), dict(case.query), case.path, case.method
    if changed == "method":
        method = "TRACE"
    elif changed == "path":
        path += "x"
    elif changed == "query":
        query["added\x00"] = "1"
    elif changed == "header":
        host = next(name for name in headers if name.lower() == "host")
        headers[host] = "evil.example"
    elif changed == "secret":
        secret = data.draw(text.filter(lambda other: other != SECRET_KEY))
    elif changed == "signature":
        index = data.draw(st.integers(1, 64))
        signed = signed[:-index] + ("0" if signed[-index] != "0" else "1") + signed[len(signed) - index + 1 :]
    else:
        signed = signed.replace("/" + str(case.expiration) + "/", "/" + str(case.expiration + 1) + "/")
    other = Case(method, path, query, headers, case.listed, case.timestamp, case.expiration)
    assert verify_bce(other.request(signed), secret, now=case.timestamp).reason is Reason.MISMATCH


@settings(max_examples=200, deadline=None)
@given(case=cases(all_bce_listed=True))
def test_canonical_request_is_what_gets_signed(case: Case) -> None:
    import hashlib
    import hmac

    prefix = "/".join(case.official().split("/")[:4])
    key = hmac.new(SECRET_KEY.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    built = canonical_request(
        method=case.method, path=case.path, params=case.query, headers=case.headers, signed_headers=case.listed
    )
    assert case.official().endswith("/" + hmac.new(key.encode(), built.encode(), hashlib.sha256).hexdigest())

"""The vectors of the wire reference, 2.2.1 and appendix A: computed or captured by other people's software."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

import pytest

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import (
    Reason,
    canonical_request,
    explain,
    format_bce_date,
    parse_bce_authorization,
    sign_bce,
    verify_bce,
)
from qfkit.protocol.signing.bce_auth_v1 import signing_key

ACCESS_KEY = "ALTAKFAKEACCESSKEY000000"
SECRET_KEY = "0123456789abcdef0123456789abcdef"
NOW = 1714550400
DATE = "2024-05-01T08:00:00Z"
CHAT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"


@dataclass(frozen=True)
class Vector:
    name: str
    method: str
    path: str
    headers: dict[str, str]
    canonical: str
    listed: str
    signature: str
    expiration: int = 1800
    params: tuple[tuple[str, str | None], ...] = ()

    @property
    def authorization(self) -> str:
        return f"bce-auth-v1/{ACCESS_KEY}/{DATE}/{self.expiration}/{self.listed}/{self.signature}"

    def request(self, query: str | None = None) -> HttpRequest:
        if query is None:
            query = urlencode([(name, value or "") for name, value in self.params])
        target = f"{self.path}?{query}" if query else self.path
        return HttpRequest(self.method, target, (*self.headers.items(), ("Authorization", self.authorization)))


VECTORS = (
    Vector(
        "TV1",
        "POST",
        CHAT,
        {
            "Content-Type": "application/json",
            "Host": "aip.baidubce.com",
            "Request_id": "sdk-py-0.4.12.3-AbCdEfGh12345678",
            "x-bce-date": DATE,
        },
        "POST\n/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions\n\ncontent-type:application%2Fjson\n"
        "host:aip.baidubce.com\nrequest_id:sdk-py-0.4.12.3-AbCdEfGh12345678\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "content-type;host;request_id;x-bce-date",
        "962438ee4fa43bb068025f2ca3b45e36269967f97594c85d0e9b2a9762d2040d",
        expiration=300,
    ),
    Vector(
        "TV2",
        "POST",
        CHAT,
        {"Host": "aip.baidubce.com", "x-bce-date": DATE},
        "POST\n/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions\n\nhost:aip.baidubce.com\n"
        "x-bce-date:2024-05-01T08%3A00%3A00Z",
        "host;x-bce-date",
        "a190d2a0ecf010bb122c614489ed6ecf742a6427c82a6009910f5374d17652e1",
    ),
    Vector(
        "TV3",
        "POST",
        CHAT,
        {
            "Host": "aip.baidubce.com",
            "Content-Type": "application/json",
            "Content-Length": "42",
            "x-bce-date": DATE,
            "X-Other": "ignored",
        },
        "POST\n/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions\n\ncontent-length:42\n"
        "content-type:application%2Fjson\nhost:aip.baidubce.com\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "",
        "4275c94835716e325db265bb84e8bbfce3299720075ba877de601a804192aa27",
    ),
    Vector(
        "TV4",
        "GET",
        "/v1/test",
        {"Host": "qianfan.baidubce.com", "x-bce-date": DATE},
        "GET\n/v1/test\nempty=&name=%E6%96%87%E5%BF%83%E4%B8%80%E8%A8%80&none=&plus=1%2B1&sp%20ace=a%20b%2Bc%2Fd~e\n"
        "host:qianfan.baidubce.com\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "host;x-bce-date",
        "c9fed3b9adada70f9ba7f3baab96e7916cbb377b28062a968068d1458376b7b2",
        params=(("name", "文心一言"), ("empty", ""), ("none", None), ("sp ace", "a b+c/d~e"), ("plus", "1+1")),
    ),
    Vector(
        "TV5",
        "GET",
        "/v1/test",
        {"Host": "qianfan.baidubce.com", "x-bce-date": DATE},
        "GET\n/v1/test\nj=1&k=a&k=a&k=b\nhost:qianfan.baidubce.com\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "host;x-bce-date",
        "a8212ff19a5b520cb46c87028421bf6513d2250d3ac846028da8814cddb88b00",
        params=(("k", "b"), ("k", "a"), ("k", "a"), ("j", "1")),
    ),
    Vector(
        "TV6",
        "GET",
        "/v1/test",
        {"Host": "qianfan.baidubce.com", "x-bce-date": DATE},
        "GET\n/v1/test\nA=4&a-b=1&a.c=3&a=2&a_=6&aa=5\nhost:qianfan.baidubce.com\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "host;x-bce-date",
        "b367d64f7b8d975701dacefd420e15ff20d743d5c23e97d375c2b2c44cb56ad5",
        params=(("a", "2"), ("a-b", "1"), ("a.c", "3"), ("A", "4"), ("aa", "5"), ("a_", "6")),
    ),
    Vector(
        "TV7",
        "PUT",
        "/v2/model",
        {
            "HOST": " 127.0.0.1:8443 ",
            "CONTENT-TYPE": "application/json; charset=utf-8",
            "X-BCE-DATE": DATE,
            "X-Bce-Meta-Name": "  中文 值  ",
            "X-Bce-Empty": "",
            "Accept": "*/*",
        },
        "PUT\n/v2/model\nAction=DescribeServices\ncontent-type:application%2Fjson%3B%20charset%3Dutf-8\n"
        "host:127.0.0.1%3A8443\nx-bce-date:2024-05-01T08%3A00%3A00Z\nx-bce-meta-name:%E4%B8%AD%E6%96%87%20%E5%80%BC",
        "host;content-type;x-bce-date;x-bce-meta-name",
        "6ecb81c669e43a7d270701db7098f148b15420a2606f76e66c7407e704342f99",
        expiration=600,
        params=(("Action", "DescribeServices"),),
    ),
    Vector(
        "TV8",
        "GET",
        "/v1/BCE-BEARER/token",
        {
            "Content-Type": "application/json",
            "Host": "127.0.0.1:18991",
            "request-source": "qianfan_py_sdk_v0.4.12.3",
            "x-bce-date": DATE,
        },
        "GET\n/v1/BCE-BEARER/token\nexpireInSeconds=43200\ncontent-type:application%2Fjson\nhost:127.0.0.1%3A18991\n"
        "request-source:qianfan_py_sdk_v0.4.12.3\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "content-type;host;request-source;x-bce-date",
        "d4ecdd9717123b389582506a59bb62a950c6a1c2e5aa28d47039eade192bd998",
        expiration=300,
        params=(("expireInSeconds", "43200"),),
    ),
    Vector(
        "TV9",
        "GET",
        "/example/%E6%B5%8B%E8%AF%95",
        {"Host": "bj.bcebos.com", "x-bce-date": DATE},
        "GET\n/example/%E6%B5%8B%E8%AF%95\ntext10=test&text1=%E6%B5%8B%E8%AF%95&text=\nhost:bj.bcebos.com\n"
        "x-bce-date:2024-05-01T08%3A00%3A00Z",
        "host;x-bce-date",
        "18f09fc3b3e8d8afe17025e291184032e63c71872ec055f7875451738d5b5fdd",
        params=(("text", ""), ("text1", "测试"), ("text10", "test")),
    ),
    # By the document's rule, which drops the key; what the Python signer makes of it is a test of its own.
    Vector(
        "TV10",
        "GET",
        "/v1/test",
        {"Host": "h", "x-bce-date": DATE},
        "GET\n/v1/test\na=1\nhost:h\nx-bce-date:2024-05-01T08%3A00%3A00Z",
        "host;x-bce-date",
        "df5aed87b20ad88b65e6c9a8c30d1ab5b9e6ee8475597cde2fab1850dbd4697a",
        params=(("authorization", "zzz"), ("a", "1")),
    ),
)
TV10_PYTHON = "be4ff9f3991b4f3dc671d3cd84dd23ec094b930d916757d9e4256455faf0cf7a"
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


def _listed(vector: Vector) -> list[str]:
    return [name for name in vector.listed.split(";") if name]


@pytest.mark.parametrize(
    ("expiration", "key"),
    [
        (300, "9ae46b16388fa5e0f168da79b6eef48e6266c610df35bc45088f77844380cb26"),
        (600, "0ef731ccfe56d797ed44377738350dcb0e934ea72d72a683441c0cb444ee90bc"),
        (1800, "44b5c281d542670ce6c394ce7753293036839668e67c5fe5f1a666000c951117"),
    ],
)
def test_signing_keys(expiration: int, key: str) -> None:
    assert signing_key(SECRET_KEY, f"bce-auth-v1/{ACCESS_KEY}/{DATE}/{expiration}") == key.encode()


@every_vector
def test_canonical_request(vector: Vector) -> None:
    built = canonical_request(
        method=vector.method,
        path=vector.path,
        params=vector.params,
        headers=vector.headers,
        signed_headers=_listed(vector),
    )
    assert built == vector.canonical


@every_vector
def test_signing_gives_the_whole_header(vector: Vector) -> None:
    signed = sign_bce(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        method=vector.method,
        path=vector.path,
        params=vector.params,
        headers=vector.headers,
        timestamp=NOW,
        expiration=vector.expiration,
        signed_headers=_listed(vector),
    )
    assert signed == vector.authorization


@every_vector
def test_method_in_any_case_signs_the_same(vector: Vector) -> None:
    assert (
        canonical_request(
            method=vector.method.lower(),
            path=vector.path,
            params=vector.params,
            headers=vector.headers,
            signed_headers=_listed(vector),
        )
        == vector.canonical
    )


@every_vector
def test_verifying(vector: Vector) -> None:
    verdict = verify_bce(vector.request(), SECRET_KEY, now=NOW + vector.expiration)
    assert (verdict.ok, verdict.reason, verdict.form) == (True, Reason.OK, "as-sent")
    assert verdict.access_key == ACCESS_KEY


@every_vector
def test_verifying_with_spaces_as_percent_20_in_the_query(vector: Vector) -> None:
    query = urlencode([(name, value or "") for name, value in vector.params], quote_via=quote)
    assert verify_bce(vector.request(query), SECRET_KEY, now=NOW).form == "as-sent"


@every_vector
def test_verifying_with_another_secret_refuses(vector: Vector) -> None:
    verdict = verify_bce(vector.request(), SECRET_KEY[::-1], now=NOW)
    assert verdict.reason is Reason.MISMATCH
    assert verdict.expected == vector.canonical


def test_tv10_as_the_python_signer_has_it() -> None:
    vector = replace(VECTORS[-1], signature=TV10_PYTHON)
    assert verify_bce(vector.request(), SECRET_KEY, now=NOW).form == "authorization-in-query"


def test_a_name_alone_in_the_query_is_an_empty_value() -> None:
    vector = next(vector for vector in VECTORS if vector.name == "TV9")
    assert verify_bce(vector.request("text10=test&text&text1=%E6%B5%8B%E8%AF%95"), SECRET_KEY, now=NOW).ok


def test_tv7_as_a_wsgi_server_hands_it_over() -> None:
    vector = next(vector for vector in VECTORS if vector.name == "TV7")
    request = vector.request()
    headers = tuple((name, value.encode().decode("latin-1")) for name, value in request.headers)
    assert verify_bce(replace(request, headers=headers), SECRET_KEY, now=NOW).form == "latin-1"


# -- captured from real clients ---------------------------------------------------------------------------------------

SERVICE_LIST = """\
POST /wenxinworkshop/service/list HTTP/1.1
User-Agent: python-requests/2.34.2
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Content-Type: application/json
Host: 127.0.0.1:18991
request-source: qianfan_py_sdk_v0.4.12.3
x-bce-date: 2026-11-23T04:40:41Z
Authorization: bce-auth-v1/ALTAKFAKEACCESSKEY000000/2026-11-23T04:40:41Z/300/content-type;host;request-source;x-bce-date/642d96307cbb8c4b453634652d5f475ba344164cc8a312944e9560aea3f7d886
Content-Length: 2

{}"""  # noqa: E501
PYTHON_CHAT = """\
POST /rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions HTTP/1.1
User-Agent: python-requests/2.34.2
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Content-Type: application/json
Host: 127.0.0.1:18991
Request_id: sdk-py-0.4.12.3-CTwHsXBVdDWR0xfX
x-bce-date: 2026-11-23T04:40:41Z
Authorization: bce-auth-v1/ALTAKFAKEACCESSKEY000000/2026-11-23T04:40:41Z/300/request_id;content-type;host;x-bce-date/0e0c4ded8cad304fc10d4202a38688027e12fdd8007d4d9d5d428d23d2634032
Content-Length: 144

{"messages": [{"role": "user", "content": "\\u4f60\\u597d"}], "stream": false, "extra_parameters": {"request_source": "qianfan_py_sdk_v0.4.12.3"}}"""  # noqa: E501
PYTHON_BEARER = """\
GET /v1/BCE-BEARER/token?expireInSeconds=43200 HTTP/1.1
User-Agent: python-requests/2.34.2
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Content-Type: application/json
Host: 127.0.0.1:18991
request-source: qianfan_py_sdk_v0.4.12.3
x-bce-date: 2026-11-23T04:40:42Z
Authorization: bce-auth-v1/ALTAKFAKEACCESSKEY000000/2026-11-23T04:40:42Z/300/x-bce-date;host;request-source;content-type/1b4b2c6ec2c9b7c3678f6afcbbf8d2e57e000b2674c634d362a41b7f244f774c
Content-Length: 2

{}"""  # noqa: E501
JS_CHAT = """\
POST /rpc/2.0/ai_custom/v1/wenxinworkshop/chat/ernie-lite-8k HTTP/1.1
Content-Type: application/json
User-Agent: bce-sdk-nodejs/0.2.4/unknown/unknown
x-bce-date: 2026-11-23T04:44:33Z
Accept: application/json
Content-Length: 111
Host: 127.0.0.1:18991
Authorization: bce-auth-v1/ALTAKFAKEACCESSKEY000000/2026-11-23T04:44:33Z/1800/content-length;content-type;host;x-bce-date/a94885f884937dc2ed15e6725c9e5c4736c0508cb6fa7df57a4f48705e229128
Accept-Encoding: gzip,deflate
Connection: keep-alive

{"messages":[{"role":"user","content":"你好"}],"extra_parameters":{"request_source":"qianfan_js_sdk_v0.2.4"}}"""  # noqa: E501
LLAMA_INDEX_CHAT = """\
POST /rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro HTTP/1.1
Host: 127.0.0.1:18991
Content-Type: application/json
Authorization: bce-auth-v1/ALTAKFAKEACCESSKEY000000/2026-11-23T05:12:34Z/60/content-type;host/71093b9746002b930d7c16aabec71376c7b597bba29762258934f0ace21ac5a6
Content-Length: 90

{"messages": [{"role": "user", "content": "\\u4f60\\u597d"}], "system": "", "stream": false}"""  # noqa: E501

CAPTURED = {
    "A.9 service list, Python": (SERVICE_LIST, "as-sent"),
    "A.9 chat, Python (TV12)": (PYTHON_CHAT, "as-sent"),
    "A.11 bearer token, Python": (PYTHON_BEARER, "as-sent"),
    "A.18 chat, JavaScript": (JS_CHAT, "as-sent"),
    "A.21 chat, LlamaIndex (TV11)": (LLAMA_INDEX_CHAT, "host-without-port"),
}
every_capture = pytest.mark.parametrize(("text", "form"), CAPTURED.values(), ids=CAPTURED)


def _captured(text: str) -> HttpRequest:
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    method, target, _ = first.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return HttpRequest(method, target, headers, body.encode())


@every_capture
def test_captured_requests_verify(text: str, form: str) -> None:
    request = _captured(text)
    issued = parse_bce_authorization(request.header("Authorization") or "").issued
    verdict = verify_bce(request, SECRET_KEY, now=issued + 1)
    assert (verdict.ok, verdict.form) == (True, form)


@every_capture
def test_captured_requests_are_refused_once_touched(text: str, form: str) -> None:
    request = _captured(text)
    now = parse_bce_authorization(request.header("Authorization") or "").issued
    moved = replace(request, target=request.target.replace("/v1/", "/v2/").replace("/service/", "/services/"))
    assert verify_bce(moved, SECRET_KEY, now=now).reason is Reason.MISMATCH
    assert verify_bce(replace(request, method="DELETE"), SECRET_KEY, now=now).reason is Reason.MISMATCH
    assert explain(request, "another secret", now=now).cause == "wrong-secret"


def test_signing_a_captured_request_again_gives_its_signature() -> None:
    request = _captured(JS_CHAT)
    read = parse_bce_authorization(request.header("Authorization") or "")
    assert format_bce_date(read.issued) == read.timestamp
    signed = sign_bce(
        access_key=read.access_key,
        secret_key=SECRET_KEY,
        method=request.method,
        path=request.path,
        headers=request.headers,
        timestamp=read.issued,
        expiration=read.expiration,
        signed_headers=read.signed_headers,
    )
    assert signed == request.header("Authorization")


def test_tv11_from_scratch() -> None:
    prefix = f"bce-auth-v1/{ACCESS_KEY}/2026-11-23T05:12:34Z/60"
    key = hmac.new(SECRET_KEY.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro"
    text = canonical_request(
        method="POST",
        path=path,
        headers={"Host": "127.0.0.1", "Content-Type": "application/json"},
        signed_headers=["content-type", "host"],
    )
    assert text == f"POST\n{path}\n\ncontent-type:application%2Fjson\nhost:127.0.0.1"
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert signature == "71093b9746002b930d7c16aabec71376c7b597bba29762258934f0ace21ac5a6"

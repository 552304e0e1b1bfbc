"""bce-auth-v1: reading the header, what is borne, what is refused. Vectors and the SDK have their own files."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import (
    MESSAGE_LIMIT,
    TOLERATED,
    MalformedAuthorization,
    Reason,
    Verification,
    format_bce_date,
    parse_bce_authorization,
    parse_bce_date,
    sign_bce,
    verify_bce,
)

ACCESS_KEY = "ALTAKFAKEACCESSKEY000000"
SECRET_KEY = "0123456789abcdef0123456789abcdef"
NOW = 1714550400
DATE = "2024-05-01T08:00:00Z"
HEADERS = {"Host": "127.0.0.1:18991", "Content-Type": "application/json", "x-bce-date": DATE}
HOST_LINE = "host:127.0.0.1%3A18991"
DATE_LINE = "x-bce-date:2024-05-01T08%3A00%3A00Z"
LISTED = ["content-type", "host", "x-bce-date"]


def authorization(canonical: str, listed: str, *, expiration: int = 1800, secret: str = SECRET_KEY) -> str:
    """The scheme from scratch, over a canonical request that the test writes out."""
    prefix = f"bce-auth-v1/{ACCESS_KEY}/{DATE}/{expiration}"
    key = hmac.new(secret.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    return f"{prefix}/{listed}/{hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()}"


def request_of(target: str, authorization: str, *, method: str = "GET", **headers: str) -> HttpRequest:
    return HttpRequest(method, target, (*(HEADERS | headers).items(), ("Authorization", authorization)))


def check(target: str, canonical: str, listed: str = "host;x-bce-date", **headers: str) -> Verification:
    return verify_bce(request_of(target, authorization(canonical, listed), **headers), SECRET_KEY, now=NOW)


def sign(**changes: object) -> str:
    arguments: dict[str, object] = {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "method": "GET",
        "path": "/v1/x",
        "headers": HEADERS,
        "timestamp": NOW,
        "signed_headers": LISTED,
    }
    return sign_bce(**(arguments | changes))  # type: ignore[arg-type]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_reading_an_authorization() -> None:
    read = parse_bce_authorization(f" bce-auth-v1/{ACCESS_KEY}/{DATE}/300/X-Bce-Date;host/{'ab' * 32}\t")
    assert (read.access_key, read.timestamp, read.issued, read.expiration) == (ACCESS_KEY, DATE, NOW, 300)
    assert read.signed_headers == ("x-bce-date", "host")
    assert read.prefix == f"bce-auth-v1/{ACCESS_KEY}/{DATE}/300"
    assert "abab" not in repr(read)
    assert parse_bce_authorization(f"bce-auth-v1/a/{DATE}/300//sig").signed_headers == ()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("Bearer bce-v3/ALTAK-x/y", "begins with 'Bearer', not with bce-auth-v1/"),
        ("BCE-AUTH-V1/a/b/c/d/e", "begins with 'BCE-AUTH-V1'"),
        ("bce-auth-v1", "has 1 fields, not 6"),
        (f"bce-auth-v1/a/{DATE}/300/sig", "No signed headers: keep both slashes"),
        (f"bce-auth-v1//{DATE}/300/host/sig", "empty access key"),
        ("bce-auth-v1/a/1714550400/300/host/sig", "'1714550400' is not a UTC date of the form YYYY-MM-DDThh:mm:ssZ"),
        ("bce-auth-v1/a/2024-13-01T08:00:00Z/300/host/sig", "month must be in 1..12"),
        ("bce-auth-v1/a/2024-05-01T08:00:00.000Z/300/host/sig", "not a UTC date"),
        (f"bce-auth-v1/a/{DATE}/5m/host/sig", "'5m', not whole seconds"),
        (f"bce-auth-v1/a/{DATE}/-1/host/sig", "'-1', not whole seconds"),
        (f"bce-auth-v1/a/{DATE}/300/host;;x-bce-date/sig", "hold an empty name"),
        (f"bce-auth-v1/a/{DATE}/300/host/", "empty signature"),
    ],
)
def test_a_malformed_authorization_is_told_where(value: str, says: str) -> None:
    with pytest.raises(MalformedAuthorization) as caught:
        parse_bce_authorization(value)
    assert says in str(caught.value)
    verdict = verify_bce(request_of("/", value), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MALFORMED, "malformed-authorization")
    assert says in verdict.message


@given(st.integers(-62135596800, 253402300799))
def test_dates_come_back_as_they_went(moment: int) -> None:
    assert parse_bce_date(format_bce_date(moment)) == moment


def test_dates_cut_fractions_and_refuse_what_has_no_four_digit_year() -> None:
    assert format_bce_date(NOW + 0.999) == DATE
    with pytest.raises(ValueError, match="up to the year 9999"):
        format_bce_date(NOW * 1000)
    with pytest.raises(ValueError, match="not a UTC date"):
        parse_bce_date("２024-05-01T08:00:00Z")


# -- signing ----------------------------------------------------------------------------------------------------------


def test_signing_keeps_the_order_of_the_signed_headers() -> None:
    assert sign(signed_headers=["Host", "Content-Type"]).split("/")[4] == "host;content-type"


def test_signing_takes_pairs_and_mappings_alike() -> None:
    assert sign(params={"b": None, "a": "1"}) == sign(params=[("a", "1"), ("b", "")])
    assert sign(headers=tuple(HEADERS.items())) == sign()


def test_signing_leaves_the_slot_empty_for_the_default_set() -> None:
    canonical = f"GET\n/v1/x\n\ncontent-type:application%2Fjson\n{HOST_LINE}\n{DATE_LINE}"
    for empty in (None, [], ()):
        assert sign(signed_headers=empty, headers=HEADERS | {"Accept": "x"}) == authorization(canonical, "")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"access_key": ""}, "access_key must be a word without a slash"),
        ({"access_key": "a/b"}, "access_key must be a word without a slash"),
        ({"expiration": -1}, "expiration must be 0 seconds or more"),
        ({"signed_headers": ["content-type"]}, "must name host, which is mandatory; got content-type"),
        ({"signed_headers": ["host", "content-md5"]}, "headers lacks what is to be signed: content-md5"),
        ({"signed_headers": None, "headers": {}}, "headers lacks what is to be signed: host"),
        ({"timestamp": 1e20}, "up to the year 9999"),
    ],
)
def test_signing_refuses_what_the_service_would(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sign(**changes)


# -- what clients are allowed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", ["host;x-bce-date", "x-bce-date;host", "HOST;X-Bce-Date"])
def test_signed_headers_in_any_order_and_case(listed: str) -> None:
    assert check("/v1/x", f"GET\n/v1/x\n\n{HOST_LINE}\n{DATE_LINE}", listed).form == "as-sent"


def test_an_empty_path_is_a_slash() -> None:
    assert check("", f"GET\n/\n\n{HOST_LINE}\n{DATE_LINE}").form == "as-sent"
    assert check("?a=1", f"GET\n/\na=1\n{HOST_LINE}\n{DATE_LINE}").form == "as-sent"


def test_a_method_in_lower_case_is_signed_in_upper_case() -> None:
    signed = authorization(f"GET\n/v1/x\n\n{HOST_LINE}\n{DATE_LINE}", "host;x-bce-date")
    assert verify_bce(request_of("/v1/x", signed, method="get"), SECRET_KEY, now=NOW).ok


def test_a_header_that_came_twice_is_two_lines() -> None:
    signed = authorization("GET\n/\n\nhost:a\nhost:b", "host")
    request = HttpRequest("GET", "/", (("Host", "b"), ("host", "a"), ("Authorization", signed)))
    assert verify_bce(request, SECRET_KEY, now=NOW).ok


def test_without_x_bce_date() -> None:
    signed = authorization(f"GET\n/\n\n{HOST_LINE}", "host")
    request = HttpRequest("GET", "/", (("Host", HEADERS["Host"]), ("Authorization", signed)))
    assert verify_bce(request, SECRET_KEY, now=NOW).ok


def _java(text: str) -> str:
    """Java's URLEncoder as the Java SDK patches its output."""
    escaped = quote(text, safe="*").replace("~", "%7E")
    for code, character in (("%21", "!"), ("%27", "'"), ("%28", "("), ("%29", ")"), ("%2A", "*")):
        escaped = escaped.replace(code, character)
    return escaped


#: form -> (target, extra headers, canonical request as that client writes it).
STRAY = {
    "host-without-port": ("/v1/x", {}, f"GET\n/v1/x\n\nhost:127.0.0.1\n{DATE_LINE}"),
    "unlisted-x-bce": ("/v1/x", {"x-bce-a": "1"}, f"GET\n/v1/x\n\n{HOST_LINE}\nx-bce-a:1\n{DATE_LINE}"),
    "authorization-in-query": (
        "/v1/x?Authorization=z&a=1",
        {},
        f"GET\n/v1/x\nAuthorization=z&a=1\n{HOST_LINE}\n{DATE_LINE}",
    ),
    "plus-literal": ("/v1/x?a=1+1", {}, f"GET\n/v1/x\na=1%2B1\n{HOST_LINE}\n{DATE_LINE}"),
    "path-encoded": ("/v1/(x):%e4", {}, f"GET\n/v1/%28x%29%3A%E4\n\n{HOST_LINE}\n{DATE_LINE}"),
    "path-decoded": (f"/v1/{quote('你 好')}", {}, f"GET\n/v1/你 好\n\n{HOST_LINE}\n{DATE_LINE}"),
    "quote-plus": ("/v1/x?a=b%20c", {}, f"GET\n/v1/x\na={quote_plus('b c')}\n{HOST_LINE}\n{DATE_LINE}"),
    "java": ("/v1/x?a=(b)!~", {}, f"GET\n/v1/x\na={_java('(b)!~')}\n{HOST_LINE}\n{DATE_LINE}"),
    "latin-1": (
        "/v1/x",
        {"x-bce-a": "é".encode().decode("latin-1")},
        f"GET\n/v1/x\n\n{HOST_LINE}\nx-bce-a:%C3%A9\n{DATE_LINE}",
    ),
    "host-without-port+quote-plus": ("/v1/x?a=b+c", {}, f"GET\n/v1/x\na=b+c\nhost:127.0.0.1\n{DATE_LINE}"),
    "host-without-port+java": ("/v1/x?a=*/", {}, f"GET\n/v1/x\na=*%2F\nhost:127.0.0.1\n{DATE_LINE}"),
}


@pytest.mark.parametrize("form", STRAY)
def test_clients_that_stray_are_borne_and_named(form: str) -> None:
    target, headers, canonical = STRAY[form]
    listed = "host;x-bce-a;x-bce-date" if form == "latin-1" else "host;x-bce-date"
    assert check(target, canonical, listed, **headers).form == form


def test_every_tolerated_way_has_a_test() -> None:
    assert {way.name for way in TOLERATED} <= set(STRAY)


def test_java_leaves_slashes_in_header_values() -> None:
    canonical = f"GET\n/v1/x\n\ncontent-type:application/json\nhost:127.0.0.1\n{DATE_LINE}"
    assert check("/v1/x", canonical, "content-type;host;x-bce-date").form == "host-without-port+java"


def test_a_host_without_a_port_has_none_to_strip() -> None:
    canonical = f"GET\n/v1/x\n\nhost:127.0.0\n{DATE_LINE}"
    assert check("/v1/x", canonical, Host="127.0.0.1").reason is Reason.MISMATCH


# -- what is refused --------------------------------------------------------------------------------------------------


def test_no_authorization() -> None:
    for headers in ((), (("Authorization", "  "),)):
        verdict = verify_bce(HttpRequest("GET", "/", headers), SECRET_KEY, now=NOW)
        assert (verdict.reason, verdict.cause) == (Reason.MISSING_HEADER, "missing-header")


def test_two_authorizations() -> None:
    request = request_of("/v1/x", sign())
    again = replace(request, headers=(*request.headers, ("authorization", sign())))
    assert verify_bce(again, SECRET_KEY, now=NOW).ok
    verdict = verify_bce(replace(request, headers=(*request.headers, ("authorization", "x"))), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MALFORMED, "repeated-header")


def test_an_unknown_access_key_comes_before_the_rest() -> None:
    verdict = verify_bce(request_of("/v1/x", sign()), None, now=NOW + 10**6)
    assert (verdict.reason, verdict.access_key) == (Reason.UNKNOWN_KEY, ACCESS_KEY)
    assert ACCESS_KEY not in verdict.message


def test_validity_ends_with_its_last_second() -> None:
    request = request_of("/v1/x", sign(expiration=60))
    assert verify_bce(request, SECRET_KEY, now=NOW + 60).ok
    verdict = verify_bce(request, SECRET_KEY, now=NOW + 72.4)
    assert (verdict.reason, verdict.cause) == (Reason.EXPIRED, "expired")
    assert "expired 12 s ago: it was made at 2024-05-01T08:00:00Z for 60 s" in verdict.message


def test_a_time_stamp_in_the_future() -> None:
    request = request_of("/v1/x", sign())
    assert verify_bce(request, SECRET_KEY, now=NOW - 300).ok
    verdict = verify_bce(request, SECRET_KEY, now=NOW - 301)
    assert (verdict.reason, verdict.cause) == (Reason.CLOCK_SKEW, "clock-ahead")
    assert "is 301 s ahead of this server's clock (allowed: 300 s)" in verdict.message
    assert verify_bce(request, SECRET_KEY, now=NOW - 1000, allowed_skew=1000).ok
    assert verify_bce(request, SECRET_KEY, now=NOW - 8 * 3600).cause == "local-time-for-utc"


def test_host_must_be_signed() -> None:
    verdict = check("/v1/x", f"GET\n/v1/x\n\n{DATE_LINE}", "x-bce-date")
    assert (verdict.reason, verdict.cause) == (Reason.MALFORMED, "host-not-signed")


def test_a_listed_header_that_did_not_arrive_is_named_as_the_service_does() -> None:
    canonical = f"GET\n/v1/x\n\n{HOST_LINE}\n{DATE_LINE}"
    verdict = check("/v1/x", canonical, "content-length;host;request_id;x-bce-date")
    assert (verdict.reason, verdict.cause) == (Reason.MISMATCH, "missing-signed-header")
    assert "Missing headers required by signing: 'content-length, request_id'" in verdict.message
    assert "underscore" in (verdict.advice or "")


def test_the_default_set_needs_a_host_too() -> None:
    request = HttpRequest("GET", "/", (("Authorization", authorization("GET\n/\n\n", "")),))
    assert verify_bce(request, SECRET_KEY, now=NOW).cause == "missing-signed-header"


def test_a_mismatch_shows_the_canonical_request() -> None:
    verdict = verify_bce(request_of("/v1/x?b=2&a=1", sign()), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause, verdict.form) == (Reason.MISMATCH, None, None)
    assert verdict.expected == f"GET\n/v1/x\na=1&b=2\ncontent-type:application%2Fjson\n{HOST_LINE}\n{DATE_LINE}"
    assert verdict.labels == (
        "METHOD",
        "canonical URI",
        "query",
        "header content-type",
        "header host",
        "header x-bce-date",
    )


@pytest.mark.parametrize(
    "signature", ["0" * 64, "x", "é", "0" * 100_000, "\ud800", "/////", " ", "0123456789abcdef" * 4]
)
def test_odd_signatures_are_mismatches(signature: str) -> None:
    value = sign()[:-64] + signature
    verdict = verify_bce(request_of("/v1/x", value + "/"), SECRET_KEY, now=NOW)
    assert verdict.reason is Reason.MISMATCH


anything = st.text(max_size=30)


@settings(deadline=None, max_examples=300)
@given(
    method=anything,
    target=anything,
    headers=st.lists(
        st.tuples(
            anything | st.sampled_from(["host", "HOST", "x-bce-date", "X-Bce-\u0130", "content-type", "Authorization"]),
            anything,
        ),
        max_size=6,
    ),
    field=st.sampled_from(["access_key", "listed", "signature", "whole"]),
    garbage=anything,
    secret=st.none() | anything,
)
@example(
    method="GET",
    target="/\ud800?\udcff",
    headers=[("host", "\ud800"), ("\udcff", "\xe9")],
    field="listed",
    garbage="host;\udcff",
    secret="\ud800",
)
@example(
    method="GET",
    target="/%zz%?%=%&&==+&authorization",
    headers=[("host", "é:80"), ("x-bce-a", "\xe9")],
    field="listed",
    garbage="host",
    secret="s",
)
def test_whatever_arrives_there_is_a_verdict(
    *, method: str, target: str, headers: list[tuple[str, str]], field: str, garbage: str, secret: str | None
) -> None:
    fields = {"access_key": "a", "listed": "host", "signature": "00"} | {field: garbage}
    value = f"bce-auth-v1/{fields['access_key']}/{DATE}/300/{fields['listed']}/{fields['signature']}"
    sent = (("Authorization", garbage if field == "whole" else value), *headers)
    verdict = verify_bce(HttpRequest(method, target, sent), secret, now=NOW)
    assert not verdict.ok
    assert 0 < len(verdict.message) <= MESSAGE_LIMIT
    assert verdict.message.isprintable()
    assert json.loads(json.dumps(verdict.to_dict()))["reason"] == verdict.reason.value
    assert verdict.render().startswith("Signature refused: ")

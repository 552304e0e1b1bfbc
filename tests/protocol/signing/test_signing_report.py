"""What people get to read: labelled lines, first differences, the rendered report."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfkit.protocol import signing
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import CAUSES, FINDINGS, MESSAGE_LIMIT, Difference, Reason, Verification, compare, explain
from qfkit.protocol.signing.canonical import Canonical, common_prefix, first_difference, labels_of
from qfkit.protocol.signing.result import refused

NOW = 1714550400
PATH = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"


def refusal(body: bytes, signed: str, *, secret: str = "s3cret") -> Verification:
    """The verdict on a request whose client signed ``signed``."""
    headers = {
        "Host": "127.0.0.1:8000",
        "X-Bce-AccessKey": "ALTAKFAKE",
        "X-Bce-Timestamp": str(NOW),
        "X-Bce-Nonce": "12345",
        "X-Bce-Signature": base64.b64encode(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)).decode(),
    }
    return explain(HttpRequest("POST", PATH, tuple(headers.items()), body), "s3cret", now=NOW)


# -- the whole page ---------------------------------------------------------------------------------------------------


def test_the_report_of_a_tutorials_mistake() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "你好"}]})
    report = refusal(body.encode(), f"POST\nhttps://aip.baidubce.com{PATH}\n{body}\n{NOW}").render()
    assert report == (
        "Signature refused: it does not match the request (hmac, access key ALTAKFAKE)\n"
        "\n"
        "  What the server built (-) and what the client signed (+):\n"
        "\n"
        "    METHOD     both    POST\n"
        f"  - TARGET     server  https://127.0.0.1:8000{PATH}\n"
        f"  + TARGET     client  https://aip.baidubce.com{PATH}\n"
        "                               ^ line 2, column 9\n"
        '    BODY       both    {"messages": [{"role": "user", "content": "\\u4f60\\u597d"}]}\n'
        "    TIMESTAMP  both    1714550400\n"
        "\n"
        "  Cause: url-real-host\n"
        "    the client signed a host of the real service, not the one it called\n"
        "  How to fix: Sign the host that the request is sent to."
    )


def test_the_report_of_a_wrong_secret() -> None:
    report = refusal(b"{}", "whatever", secret="other").render()
    assert "  The server expects a signature over this string; what the client signed is not known:\n" in report
    assert f"    TARGET             {PATH}\n" in report
    assert "most likely the secret key is not that of this access key." in report
    assert "  Cause: wrong-secret\n  How to fix: Check that the secret key is that of this access key;" in report


def test_the_report_of_a_wrong_key_over_the_right_string() -> None:
    report = refusal(b"{}", f"POST\n{PATH}\n{{}}\n{NOW}\n12345", secret="s3cret\n").render()
    assert "  Server and client built the same string:\n\n    METHOD     both    POST\n" in report
    assert "  Cause: secret-whitespace\n" in report


def test_the_report_of_an_acceptance_says_what_is_worth_knowing() -> None:
    accepted = refusal(b"{}", f"POST\n{PATH}\n{{}}\n{NOW}")
    assert accepted.render() == (
        "Signature accepted (hmac, form A/path, access key ALTAKFAKE)\n\n  Worth knowing:\n"
        f"    nonce-unsigned: {FINDINGS['nonce-unsigned']}"
    )


def test_every_reason_has_its_headline() -> None:
    headlines = {
        Verification(ok=reason is Reason.OK, scheme="hmac", reason=reason, message="").render() for reason in Reason
    }
    assert len(headlines) == len(Reason)


def test_the_labels_are_guessed_where_none_are_given() -> None:
    verdict = Verification(
        ok=False, scheme="hmac", reason=Reason.MISMATCH, message="", expected="POST\n/\n{}\n1714550400\n5"
    )
    assert "    NONCE              5" in verdict.render()


def test_a_body_cannot_drive_the_terminal() -> None:
    body = "\x1b[2J\x07\u202e\x9b\r"
    report = refusal(body.encode(), "x").render()
    assert "\\x1b[2J\\x07\\u202e\\x9b\\r" in report
    assert all(line.isprintable() for line in report.split("\n"))


def test_a_body_that_is_not_utf_8_is_shown_by_its_bytes() -> None:
    assert "\\xc4\\xe3" in refusal("你".encode("gbk"), "x").render()


@pytest.mark.parametrize(
    ("body", "mark"),
    [
        ('{"a":"你好", "b":1}', 5),
        ('{"文心一言文心一言文心一言": 1}', 28),
        ('{"' + "x" * 200 + '": 1}', 0),
        ("\x1f" + '{"a": 1}', 0),
    ],
)
def test_the_caret_stands_under_the_first_difference(body: str, mark: int) -> None:
    other = body.replace(": ", ":").replace(", ", ",").replace('":"', '": "')
    verdict = Verification(
        ok=False,
        scheme="hmac",
        reason=Reason.MISMATCH,
        message="",
        expected=f"POST\n/\n{body}\n1\n2",
        received=f"POST\n/\n{other}\n1\n2",
        difference=compare(f"POST\n/\n{body}\n1\n2", f"POST\n/\n{other}\n1\n2"),
    )
    rows = verdict.render().split("\n")
    caret = next(index for index, row in enumerate(rows) if "^ line" in row)
    server, client, column = rows[caret - 2], rows[caret - 1], rows[caret].index("^")

    def at(row: str) -> tuple[str, str]:
        """The text up to the caret's terminal column, and the character there."""
        width = 0
        for index, character in enumerate(row):
            if width == column:
                return row[22:index], character
            width += 2 if "一" <= character <= "鿿" else 1
        raise AssertionError("the caret is beyond the line")

    assert at(server)[0] == at(client)[0]
    assert at(server)[1] != at(client)[1]
    if mark:
        assert column == server.index("{") + mark


def test_long_lines_are_cut_and_the_difference_still_shows() -> None:
    body = '{"text":"' + "好" * 5000 + '","n":1.50}'
    report = refusal(body.encode(), f"POST\n{PATH}\n{json.dumps(json.loads(body), ensure_ascii=False)}\n{NOW}").render()
    assert max(map(len, report.split("\n"))) < 200
    assert '{"text":"好好' in report
    assert '{"text": "好好' in report
    assert "characters)" in report
    tail = '{"text": "' + "好" * 5000 + '", "n": 1.50}'
    report = refusal(tail.encode(), f"POST\n{PATH}\n{json.dumps(json.loads(tail), ensure_ascii=False)}\n{NOW}").render()
    assert '好好", "n": 1.50}' in report
    assert "  …好" in report


def test_a_body_of_many_lines_is_folded_and_aligned() -> None:
    pretty = json.dumps({"items": list(range(40)), "last": 0.5}, indent=2)
    verdict = refusal(pretty.encode(), f"POST\n{PATH}\n{pretty}\n{NOW}\n12345\n")
    assert verdict.cause == "trailing-newline"
    report = verdict.render()
    assert "more lines …" in report
    assert len(report.split("\n")) < 40
    shorter = pretty.replace("    7,\n", "")
    verdict = Verification(
        ok=False,
        scheme="hmac",
        reason=Reason.MISMATCH,
        message="",
        expected=f"POST\n/\n{pretty}\n{NOW}\n5",
        received=f"POST\n/other\n{shorter}\n{NOW}\n5",
        difference=compare(f"POST\n/\n{pretty}\n{NOW}\n5", f"POST\n/other\n{shorter}\n{NOW}\n5"),
    )
    rows = verdict.render().split("\n")
    assert [row for row in rows if row.startswith(("  -", "  +"))] == [
        "  - TARGET     server  /",
        "  + TARGET     client  /other",
        "  - BODY       server      7,",
    ]


def test_bodies_too_long_to_align_are_shown_one_after_the_other() -> None:
    ours = "\n".join(["POST", "/a", *["line"] * 1000, "1", "2"])
    theirs = "\n".join(["POST", "/b", *["line"] * 999, "1", "2"])
    verdict = Verification(
        ok=False,
        scheme="hmac",
        reason=Reason.MISMATCH,
        message="",
        expected=ours,
        received=theirs,
        difference=compare(ours, theirs),
    )
    report = verdict.render()
    assert "… 994 more lines …" in report
    assert "… 993 more lines …" in report


# -- differences ------------------------------------------------------------------------------------------------------

BCE = "POST\n/v1/x\na=1\ncontent-type:a\nhost:h"
HMAC = 'POST\n/x\n{"a": 1,\n"b": 2}\n1714550400\n5'


@pytest.mark.parametrize(
    ("expected", "given", "difference"),
    [
        (HMAC, HMAC, None),
        (HMAC, HMAC.replace("/x", "/y"), Difference(2, "TARGET", "/x", "/y", 2)),
        (HMAC, HMAC.replace('"b"', '"c"'), Difference(4, "BODY", '"b": 2}', '"c": 2}', 2)),
        (HMAC, HMAC.replace("\n5", "\n57"), Difference(6, "NONCE", "5", "57", 2)),
        (HMAC, HMAC + "\n", Difference(7, "extra line", "", "", 1)),
        (HMAC, HMAC + "\nx", Difference(7, "extra line", "", "x", 1)),
        (HMAC, HMAC.removesuffix("\n5"), Difference(6, "NONCE", "5", "", 1)),
        (HMAC, "", Difference(1, "METHOD", "POST", "", 1)),
        (BCE, BCE.replace("a=1", ""), Difference(3, "query", "a=1", "", 1)),
        (BCE, BCE.replace(":h", ":h:80"), Difference(5, "header host", "host:h", "host:h:80", 7)),
        (BCE, BCE.replace("v1", "v2"), Difference(2, "canonical URI", "/v1/x", "/v2/x", 3)),
        ("POST\n/x\n{}\n1714550400", "POST\n/x\n{}\n17145504", Difference(4, "TIMESTAMP", "1714550400", "17145504", 9)),
        ("POST\n/x", "POST\n/y", Difference(2, "TARGET", "/x", "/y", 2)),
    ],
)
def test_compare(expected: str, given: str, difference: Difference | None) -> None:
    assert compare(expected, given) == difference


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.text("a\n").map(str.encode)), min_size=1),
    st.sampled_from([b"\n", b"\r\n", b"", b"&"]),
    st.sampled_from([b"", b"\n", b"x"]),
)
def test_there_is_a_label_for_every_line(parts: list[tuple[str, bytes]], separator: bytes, tail: bytes) -> None:
    canonical = Canonical(tuple(parts), separator, tail)
    assert len(canonical.labels()) == canonical.text().count("\n") + 1
    assert set(canonical.labels()) <= {label for label, _ in parts}


def test_labels_follow_the_parts_over_their_lines() -> None:
    canonical = Canonical((("METHOD", b"POST"), ("query", b""), ("BODY", b"{\n\n}"), ("NONCE", b"5")))
    assert canonical.labels() == ("METHOD", "query", "BODY", "BODY", "BODY", "NONCE")
    assert canonical.text() == "POST\n\n{\n\n}\n5"


@given(st.text("ab\n", max_size=12), st.text("ab\n", max_size=12))
def test_the_first_difference_is_the_first(one: str, other: str) -> None:
    difference = first_difference(one, other, labels_of(one))
    assert (difference is None) == (one == other)
    if difference is not None:
        ours, theirs = one.split("\n"), other.split("\n")
        index = difference.line - 1
        assert ours[:index] == theirs[:index]
        assert difference.expected == (ours[index] if index < len(ours) else "")
        assert difference.received == (theirs[index] if index < len(theirs) else "")
        assert difference.expected[: difference.column - 1] == difference.received[: difference.column - 1]
        assert difference.expected[difference.column - 1 :][:1] != difference.received[difference.column - 1 :][:1] or (
            index >= min(len(ours), len(theirs))
        )


@given(st.text("ab"), st.text("ab"))
def test_common_prefix(one: str, other: str) -> None:
    length = common_prefix(one, other)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or length == len(one) == len(other)


def test_a_message_is_cut_to_what_fits_into_a_header() -> None:
    message = refused("hmac", Reason.MALFORMED, "x" * 300).message
    assert message == "x" * (MESSAGE_LIMIT - 3) + "..."


# -- tables and names -------------------------------------------------------------------------------------------------


def test_causes_are_kept_under_their_names() -> None:
    assert all(cause.name == name for name, cause in CAUSES.items())
    assert len({cause.statement for cause in CAUSES.values()}) == len(CAUSES)


def test_the_public_names_are_there_and_sorted() -> None:
    assert all(hasattr(signing, name) for name in signing.__all__)
    assert len(set(signing.__all__)) == len(signing.__all__)

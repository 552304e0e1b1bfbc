"""Keys: what is signed, and access tokens that end."""

from __future__ import annotations

from typing import Any

from qfkit.testing.conformance.case import Case, Expected, Outcome
from qfkit.testing.conformance.shape import TEXT
from qfkit.testing.conformance.stage import Stage

_SIGNED = ("text_generation", "v1")
_SIGNING = "wire reference 2.2 and docs/signatures.md"
_SIGNS = "signs so that the service verifies it"
_ODD = '你好，"世界"\\ \n\t😀 \u2028 </script> %41 ＋'


def _verified(stage: Stage, outcome: Outcome) -> str | None:
    """What the mock says of the signatures."""
    for entry in stage.inference():
        if entry.signature is None:
            return f"request #{entry.number} is not signed, it came with {entry.scheme or 'no key at all'}"
        if not entry.signature.ok:
            return f"request #{entry.number}: {entry.diagnosis}"
    return None if outcome.requests else "it asked for nothing"


def _arrived(stage: Stage, outcome: Outcome) -> str | None:
    if (wrong := _verified(stage, outcome)) is not None:
        return wrong
    body = outcome.requests[-1].json or {}
    said = [message.get("content") for message in body.get("messages", [])]
    return None if _ODD in said else f"the question that arrived is {said!r}, not {_ODD!r}"


def _nonces(stage: Stage, outcome: Outcome) -> str | None:
    if (wrong := _verified(stage, outcome)) is not None:
        return wrong
    nonces = [entry.header("x-bce-nonce") for entry in stage.inference()]
    return None if len(set(nonces)) == len(nonces) else f"nonces came twice: {', '.join(map(str, nonces))}"


def _signature(name: str, what: str, expected: Expected, do: str, why: str = _SIGNING, **options: Any) -> Case:
    return Case(
        name=f"signature/{name}",
        what=what,
        expected=expected,
        do=do,
        why=why,
        script=options.pop("script", lambda stage: stage.account.reply(TEXT, times="forever")),
        needs=options.pop("needs", ("signs",)),
        dialects=options.pop("dialects", _SIGNED),
        **options,
    )


_SIGNATURES = (
    _signature(
        "accepted",
        "the service checks the signature of a question",
        Expected(text=TEXT, attempts=(1, 1), also=_verified, words=_SIGNS),
        "Compare the string that is signed with the one that `qfkit sign` prints.",
    ),
    _signature(
        "any-text",
        "the question has quotes, line ends, emoji and U+2028",
        Expected(text=TEXT, attempts=(1, 1), also=_arrived, words="sends the question as it is, signed rightly"),
        "Sign the bytes that are sent: make the body once, and send that; never serialise it a second time.",
        play=lambda stage: stage.ask(_ODD),
    ),
    _signature(
        "streamed",
        "the service checks the signature of a request for a stream",
        Expected(text=TEXT, attempts=(1, 1), also=_verified, words=_SIGNS),
        "Sign the path of the stream, which may be another one.",
        streamed=True,
        needs=("signs", "stream"),
    ),
    _signature(
        "each-attempt",
        "the first two attempts are refused",
        Expected(
            text=TEXT, also=_verified, words=_SIGNS, free_of=("signature-reused", "timestamp-stale", "forms-mixed")
        ),
        "Sign every attempt afresh: the retry loop goes around the signing.",
        why="docs/verdicts.md: signature-reused; a request that comes twice is refused as a replay",
        script=lambda stage: stage.account.fail(336100).then.reply(TEXT, times="forever"),
        needs=("signs", "retries"),
    ),
    _signature(
        "nonces",
        "four questions are asked",
        Expected(text=TEXT, also=_nonces, words="sends a nonce once"),
        "Draw a nonce of 16 characters or more for each request.",
        why="docs/signatures.md: what comes twice may be a replay",
        play=lambda stage: [stage.ask("背一首诗") for _ in range(4)][-1],
        dialects=("text_generation",),
    ),
    _signature(
        "no-secret",
        "the service looks for the secret key in what is sent",
        Expected(text=TEXT, free_of=("secret-in-clear",)),
        "Send the signature, never the secret key.",
        why="docs/verdicts.md: secret-in-clear",
        needs=(),
        dialects=("text_generation", "v1", "v2"),
    ),
)


# Tokens


def _fetched(stage: Stage) -> int:
    return len([entry for entry in stage.account.requests if entry.dialect in {"oauth", "iam"}])


def _one_fetch(stage: Stage, _outcome: Outcome) -> str | None:
    count = _fetched(stage)
    return None if count == 1 else f"it fetched {count} tokens for {len(stage.outcomes)} questions"


def _two_fetches(stage: Stage, _outcome: Outcome) -> str | None:
    count = _fetched(stage)
    return None if count == 2 else f"it fetched {count} tokens where the second one was due"


def _few_fetches(stage: Stage, _outcome: Outcome) -> str | None:
    count = _fetched(stage)
    return None if count <= 3 else f"it fetched {count} tokens for one question that is refused in any case"


def _then(end: str) -> Any:
    def play(stage: Stage) -> Outcome:
        first = stage.ask("第一问")
        if first.error is not None:
            return first
        getattr(stage.account, end)()
        return stage.ask("第二问")

    return play


_REFRESH = "After 110, 111 or invalid_iam_token get a new token and send the request once more, once."


def _token(name: str, what: str, expected: Expected, do: str = _REFRESH, **options: Any) -> Case:
    return Case(
        name=f"tokens/{name}",
        what=what,
        expected=expected,
        do=do,
        why=options.pop("why", "wire reference 2.1, 2.3; docs/verdicts.md: token-not-refreshed"),
        script=options.pop("script", lambda stage: stage.account.reply(TEXT, times="forever")),
        needs=("tokens", "stream") if options.get("streamed") else ("tokens",),
        dialects=("v1", "v2"),
        **options,
    )


_RENEWED = Expected(
    text=TEXT,
    attempts=(2, 3),
    also=_two_fetches,
    words="buys a second token",
    free_of=("token-not-refreshed", "token-storm"),
)


_TOKENS = (
    _token(
        "kept",
        "a token lives for 30 days; three questions are asked",
        Expected(text=TEXT, also=_one_fetch, words="buys one token"),
        "Keep a token until it ends, for all calls.",
        play=lambda stage: [stage.ask(f"第{number}问") for number in range(3)][-1],
        why="wire reference 2.1: 30 days",
        level="recommended",
    ),
    _token("expired", "the token ends between two questions", _RENEWED, play=_then("expire_tokens")),
    _token(
        "revoked",
        "the token is taken back between two questions",
        _RENEWED,
        play=_then("revoke_tokens"),
    ),
    _token(
        "expired-streamed",
        "the token ends between two requests for streams",
        _RENEWED,
        play=_then("expire_tokens"),
        streamed=True,
    ),
    _token(
        "never-good",
        "every token is refused",
        Expected(fails=True, attempts=(1, 3), also=_few_fetches, words="buys three tokens at most"),
        script=lambda stage: stage.account.fail(
            "invalid_iam_token" if stage.shape.dialect == "v2" else 110, times="forever"
        ),
        why="a client that fetches one token after the other for a question that is refused makes a storm",
    ),
)

CASES: tuple[Case, ...] = (*_SIGNATURES, *_TOKENS)

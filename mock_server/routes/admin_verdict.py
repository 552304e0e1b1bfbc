"""The verdict on the client of an account, for those who test in another language or in another process."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mock_server.routes.operation import Call, ControlError, Operation


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the client says of itself."""

    schedule: Annotated[
        str | None,
        msgspec.Meta(
            description="the schedule that its waits are to follow, such as openai or aws-full:base=0.5,cap=8"
        ),
    ] = None
    limits: Annotated[
        str | None, msgspec.Meta(description="where the line is drawn, such as cap=60,attempts=5: see docs/verdicts.md")
    ] = None
    noticed: Annotated[
        str | None,
        msgspec.Meta(description="`all`, or numbers of requests, whose failures the caller has seen: 3,7"),
    ] = None


class Noticed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests whose failures the caller has seen; without any, all that came so far."""

    numbers: list[Annotated[int, msgspec.Meta(ge=1)]] = []
    call_id: Annotated[str | None, msgspec.Meta(description="only those with this X-Qfkit-Call-Id")] = None


class VerdictInfo(msgspec.Struct, kw_only=True):
    """A verdict; docs/verdicts.md explains it. ``text`` is all of it for people."""

    ok: Annotated[bool, msgspec.Meta(description="nothing was found but information")]
    findings: list[dict[str, Any]]
    attempts: int
    certainty: Annotated[str, msgspec.Meta(description="explicit, likely or ambiguous: which attempts belong together")]
    forgotten: Annotated[int, msgspec.Meta(description="requests that are no longer in the journal, and not judged")]
    calls: list[dict[str, Any]]
    schedule: dict[str, Any] | None
    text: str


def get_verdict(call: Call) -> VerdictInfo:
    """Judge the client of an account by what came: retries, waits, streams, tokens, signatures."""
    from qfkit.grading import Limits  # noqa: PLC0415 - nobody who asks for no verdict should load it

    asking: Asking = call.query
    noticed = _numbers(asking.noticed)
    try:
        limits = Limits.parse(asking.limits or "")
    except ValueError as error:
        raise ControlError(400, str(error), path="limits") from error
    try:
        verdict = call.account.verdict(asking.schedule, limits=limits, noticed=noticed)
    except ValueError as error:
        raise ControlError(400, str(error), path="schedule") from error
    except ImportError as error:
        raise ControlError(501, str(error)) from error
    return VerdictInfo(**verdict.to_dict(), text=verdict.render())


def note_noticed(call: Call) -> None:
    """Declare that the caller has seen how its calls ended: the next request is another call."""
    noticed: Noticed = call.body
    call.account.noticed(*noticed.numbers, call_id=noticed.call_id)


def _numbers(text: str | None) -> bool | set[int]:
    if text is None or text == "all":
        return text == "all"
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ControlError(400, f"noticed is 'all', or numbers of requests such as 3,7; got {text!r}", path="noticed")
    return {int(part[:15]) for part in parts}


_TAG = "verdict"

OPERATIONS = (
    Operation(
        method="GET",
        path="/accounts/{name}/verdict",
        view=get_verdict,
        tag=_TAG,
        query=Asking,
        answer=VerdictInfo,
        errors=(501,),
        python="AccountHandle.verdict",
    ),
    Operation(
        method="POST",
        path="/accounts/{name}/noticed",
        view=note_noticed,
        tag=_TAG,
        body=Noticed,
        status=204,
        python="AccountHandle.noticed",
    ),
)

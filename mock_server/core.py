"""The one path that every request takes, from plain values to a plain `Reply`; it knows neither Flask nor sockets.

In order: find the route, authenticate, check the method, read and validate the body, meet the script, build the answer,
write the journal. Whatever arrives, the answer is one that the service itself would give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from mock_server import replies
from mock_server.answers.source import SourceError
from mock_server.asking import Asked, read
from mock_server.auth import Outcome, authenticate
from mock_server.delivery import Reply
from mock_server.grants import GRANTS
from mock_server.journal import Entry
from mock_server.matching import CallableFailed, Question
from mock_server.observing import note
from mock_server.quota import UNLIMITED, Granted, Refused, error_code
from mock_server.saying import Call
from mock_server.scenario import Failure, Taken
from mock_server.state import Account, State
from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, V1_PREFIX, Route, route
from qfkit.protocol.errors import ErrorSpec, lookup, translate
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.validation import Problem

logger = logging.getLogger("qfkit.mock")

#: Dialects whose gateway looks at the method before it looks at the keys (appendix B: GET on v2 chat is 405).
_METHOD_FIRST = frozenset({"v2", "text_generation", "oauth", "iam", "console"})

#: Wrong method -> the dialect's answer.
_METHOD_CODES: dict[str, tuple[str, int | str]] = {
    "text_generation": ("text_generation", 400),
    "v1": ("v1", 336101),
    "v2": ("v2", "method_not_supported"),
    "oauth": ("oauth", "invalid_request"),
    "iam": ("iam", "InvalidHTTPRequest"),
    "console": ("iam", "InvalidHTTPRequest"),
}

#: v2 has two rows named invalid_model; the one for a model that does not exist is live (5.2).
_UNKNOWN_MODEL: dict[str, tuple[str, int | str]] = {"v1": ("v1", 3), "v2": ("v2", "invalid_model")}

_DIAGNOSIS_CHARS = 200


class Later:
    """An answer that takes code of the user's to find: `run` it in a thread, never on an event loop."""

    __slots__ = ("_rest", "_visit")

    def __init__(self, visit: _Visit, rest: Callable[[], Reply | Later]) -> None:
        self._visit = visit
        self._rest = rest

    def run(self) -> Reply:
        """Find the answer, however long it takes. Never raises, as `handle`. To be called once."""
        self._visit.waits = True
        reply = self._visit.carry_out(self._rest)
        assert isinstance(reply, Reply)
        return reply


def handle(request: HttpRequest, state: State) -> Reply:
    """Answer one request and write it into the journal; predicates and answers of the user's run here and now.

    Never raises: a fault of our own is logged, journaled as one, and answered with the dialect's internal error.
    """
    begun = begin(request, state)
    return begun if isinstance(begun, Reply) else begun.run()


def begin(request: HttpRequest, state: State) -> Reply | Later:
    """As `handle`, but what may block is left for `Later.run`: for doors that are event loops."""
    entry = state.journal.open(request, state.clock.time())
    visit = _Visit(request, state, entry)
    return visit.carry_out(visit.answer)


class _Visit:
    """One request on its way through; holds what each step finds for the next."""

    __slots__ = ("_admission", "_entry", "_request", "_request_id", "_route", "_state", "waits")

    def __init__(self, request: HttpRequest, state: State, entry: Entry) -> None:
        self._request = request
        self._state = state
        self._entry = entry
        self._request_id = state.request_id()
        self._admission: Granted = UNLIMITED
        self._route: Route | None = None
        #: Whoever called may wait for code of the user's.
        self.waits = False

    def carry_out(self, step: Callable[[], Reply | Later]) -> Reply | Later:
        """Take the next step, and finish the reply if it makes one; whatever goes wrong becomes a reply."""
        entry = self._entry
        try:
            reply = step()
        except (CallableFailed, SourceError) as error:
            reply = self._script_fault(error)
        except Exception as error:
            logger.exception("qfkit bug while answering #%d %s %s", entry.number, self._request.method, entry.path)
            reply = self._internal_fault(error)
        if isinstance(reply, Later):
            return reply
        entry.answered(reply)
        reply.on_end = partial(self._ended, reply)
        entry.findings += reply.notes
        if reply.streamed:
            self._state.tally.opened()
        if entry.diagnosis:
            reply.headers.append(("X-Qfkit-Diagnosis", _header_text(entry.diagnosis)))
        return reply

    def answer(self) -> Reply | Later:
        """Find the answer."""
        entry, request, state = self._entry, self._request, self._state
        entry.request_id = self._request_id
        found = self._route = route(request.path)
        if found is None:
            self._record(None)
            return self._unknown_path()
        entry.dialect, entry.operation = found.dialect, found.operation
        if found.dialect in _METHOD_FIRST and request.method not in found.methods:
            self._record(None)
            return self._wrong_method(found)
        outcome = authenticate(request, found, state)
        account = self._admit(outcome, found)
        self._record(account or outcome.account)
        if account is None:
            assert outcome.refusal is not None
            refusal = outcome.refusal
            return self._reply_error(_row(refusal.dialect, refusal.code), refusal.message)
        if request.method not in found.methods:
            return self._wrong_method(found)
        if grant := GRANTS.get(found.dialect):
            entry.answered_by = "default"
            return grant(request, state, account)
        return self._infer(found, account)

    def _ended(self, reply: Reply, outcome: str) -> None:
        """The delivery is over, however it went: give back what the request held."""
        self._admission.release()
        if self._entry.outcome == "pending":  # the first word counts
            self._state.tally.ended(self._entry, reply, outcome)
        self._entry.ended(reply, outcome, self._state.clock.time())

    def _internal_fault(self, error: Exception) -> Reply:
        """A bug of ours, answered as the service answers one of its own."""
        self._entry.answered_by = "qfkit bug"
        self._entry.diagnosis = f"a bug in qfkit, please report it: {type(error).__name__}: {error}"
        return self._service_error()

    def _script_fault(self, error: Exception) -> Reply:
        """A mistake in what the user scripted: the journal says whose and where, the client sees the service fail."""
        entry = self._entry
        entry.answered_by = entry.answered_by or "script"
        entry.diagnosis = str(error)
        return self._service_error()

    def _service_error(self) -> Reply:
        dialect = self._entry.dialect
        return self._reply_error(translate(500, dialect if dialect in {"text_generation", "v1", "v2"} else "v2"))

    def _admit(self, outcome: Outcome, found: Route) -> Account | None:
        """The account whose request this is, None when it is refused. Fills in the journal's auth fields."""
        entry, mode = self._entry, self._state.settings.auth
        entry.scheme, entry.signature = outcome.scheme, outcome.signature
        if outcome.signature:
            entry.findings = outcome.signature.findings
        if outcome.old_key:
            entry.findings += ("old-key",)
        if found.dialect == "oauth":
            entry.body = b"***" if entry.body.strip() not in (b"", b"{}") else entry.body  # may hold the secret
        note(entry, self._request, outcome.token, outcome.account)
        if outcome.refusal is None:
            return outcome.account
        if mode == "off":
            return outcome.account or self._state.default_account
        entry.auth_error = entry.diagnosis = outcome.refusal.why
        if mode == "warn":
            entry.diagnosis = f"strict auth would answer {outcome.refusal.code}: {outcome.refusal.why}"
            return outcome.account or self._state.default_account
        entry.answered_by = "authentication"
        return None

    def _record(self, account: Account | None) -> None:
        entry = self._entry
        if account is None:
            self._state.journal.add(entry)
        else:
            entry.account = account.name
            self._state.journal.add(entry, account.journal)

    def _infer(self, found: Route, account: Account) -> Reply | Later:
        entry, settings = self._entry, self._state.settings
        asked = read(found, self._request.body, any_model=settings.models == "any")
        entry.model, entry.stream = asked.model_name, asked.streamed
        if asked.unknown:
            entry.diagnosis, entry.answered_by = asked.unknown, "validation"
            return self._reply_error(_row(*_UNKNOWN_MODEL[found.dialect]))
        if asked.problem:
            return self._refuse_problem(found, asked.problem)
        if found.methods != ("GET",) and (refused := self._over_quota(found, account, asked)):
            return refused
        scenario = account.scenario
        number = scenario.number()
        if scenario.plain:
            return self._meet(found, account, asked, scenario.take_plain(), None)
        take = partial(self._take, found, account, asked, number)
        return Later(self, take) if scenario.blocking and not self.waits else take()

    def _take(self, found: Route, account: Account, asked: Asked, number: int) -> Reply | Later:
        """Put the question to the scenario."""
        scenario, entry = account.scenario, self._entry
        question = Question(
            self._request,
            found,
            asked,
            account.name,
            number=number,
            attempts=partial(scenario.attempts, self._request),
            state=scenario.state,
            seed=self._state.settings.seed,
            time=entry.time,
        )
        if scenario.counts_attempts:
            question.count_attempt()
        taken = scenario.take(question)
        entry.rule, entry.near_misses = taken.rule, taken.near_misses
        if taken.near_misses:
            entry.diagnosis = taken.near_misses[0]
        meet = partial(self._meet, found, account, asked, taken, question)
        if getattr(taken.action, "blocking", False) and not self.waits:
            return Later(self, meet)
        return meet()

    def _meet(self, found: Route, account: Account, asked: Asked, taken: Taken, question: Question | None) -> Reply:
        """Do what the step says."""
        entry = self._entry
        entry.answered_by = taken.name
        if isinstance(taken.action, Failure):
            spec = translate(taken.action.code, found.dialect)
            reply = self._reply_error(spec, taken.action.message)
            reply.headers += taken.action.headers() or _usual_headers(spec)
            return reply
        call = Call(
            request=self._request,
            route=found,
            account=account,
            settings=self._state.settings,
            asked=asked,
            request_id=self._request_id,
            uuid=self._state.uuid(),
            now=entry.time,
            admission=self._admission,
            question=question,
        )
        return replies.build(call, taken.action)

    def _over_quota(self, found: Route, account: Account, asked: Asked) -> Reply | None:
        """The refusal of a request that no longer fits; one that fits is counted.

        After validation, since a quota of tokens needs the parsed body, and before the script, so that a refused
        request uses up no step.
        """
        quota = account.quotas.of(asked.model_name or found.dialect)
        admission = quota.admit(asked.tokens)
        if not isinstance(admission, Refused):
            self._admission = admission
            return None
        self._entry.answered_by, self._entry.diagnosis = "quota", admission.reason
        spec = _row(found.dialect, error_code(found.dialect, admission.kind))
        reply = self._reply_error(spec)
        if found.dialect == "text_generation":
            reply.headers += Failure(code=spec.code, retry_after=admission.retry_after).headers()
        elif found.dialect == "v1":
            reply.headers += admission.remaining.headers()  # the documented 336501 carries them (6)
        return reply

    # Refusals

    def _unknown_path(self) -> Reply:
        entry, path = self._entry, self._request.path
        entry.answered_by = "routing"
        entry.diagnosis = f"nothing lives at {path[:80]}"
        if path.startswith(f"{V1_PREFIX}/"):
            entry.dialect = "v1"
            return self._reply_error(_row("v1", 3))
        entry.diagnosis += f"; text_generation is at {TEXT_GENERATION_CHAT}, v1 below {V1_PREFIX}, v2 below /v2"
        # Code as recorded from the gateway; its status and the rest of its shape are guesses (1).
        data = {
            "code": "ResourceNotFound",
            "message": "The requested resource was not found",
            "requestId": self._uuid(),
        }
        return replies.reply_json(data, [], HTTPStatus.NOT_FOUND)

    def _wrong_method(self, found: Route) -> Reply:
        self._entry.answered_by = "method"
        self._entry.diagnosis = f"{self._request.method[:20]} is not for this path: use {' or '.join(found.methods)}"
        dialect, code = _METHOD_CODES[found.dialect]
        reply = self._reply_error(_row(dialect, code))
        reply.headers.append(("Allow", ", ".join(found.methods)))
        return reply

    def _refuse_problem(self, found: Route, problem: Problem) -> Reply:
        entry = self._entry
        entry.answered_by = "validation"
        where = f" (field {problem.field})" if problem.field else ""
        entry.diagnosis = f"{problem.message}{where}"
        return self._reply_error(_row(found.dialect, problem.code), problem.message)

    def _reply_error(self, spec: ErrorSpec, message: str | None = None) -> Reply:
        entry = self._entry
        entry.error_code, entry.error_message = spec.code, message or spec.message
        return replies.refuse(spec, message=message, request_id=self._request_id, uuid=self._uuid())

    def _uuid(self) -> str:
        return self._state.uuid()


def _usual_headers(spec: ErrorSpec) -> list[tuple[str, str]]:
    """text_generation says when to come back with every 429; of the others nobody has seen it (wire reference 6)."""
    return [("Retry-After", "1")] if spec.dialect == "text_generation" and spec.status == 429 else []


def _row(dialect: str, code: int | str) -> ErrorSpec:
    spec = lookup(dialect, code)
    if spec is None:
        raise LookupError(f"the error table of {dialect} has no {code!r}")
    return spec


def _header_text(text: str) -> str:
    """One line of ASCII: a header can carry no more."""
    line = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return line if len(line) <= _DIAGNOSIS_CHARS else f"{line[: _DIAGNOSIS_CHARS - 3]}..."

"""A client, a mock, and a model of both, in any order of whatever may happen to them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mock_server import AccountHandle, MockServer
from mock_server.journal import Entry
from qfkit.clock import Clock
from qfkit.protocol.dialects import INFERENCE_DIALECTS, InferenceDialect
from qfkit.testing.clock import ManualClock
from qfkit.testing.stateful.behaviour import Behaviour
from qfkit.testing.stateful.foretelling import foretell
from qfkit.testing.stateful.model import AccountModel, Met
from qfkit.testing.stateful.telling import Telling
from qfkit.testing.strategies.scripts import Quota, errors, faults, quotas, replies
from qfkit.testing.strategies.steps import Script, Step, script_of

#: Seconds of real time that the mock has to see a client hang up.
_PATIENCE = 2.0
#: Seconds for which a stream that is left is silent: a client that reads all of it before it hands on the first piece
#: takes so long.
_SILENCE = 5.0


#: Seconds on the clock between two calls of one caller: what comes at one instant is a herd to a verdict.
_PAUSE = 2.0
#: Seconds of real time between two looks at it.
_GLANCE = 0.01

#: Options of a stream whose effect the model knows.
_FORETOLD = ("error_after", "error", "error_form", "cut_after", "cut", "newline", "comment_every")


def foretold_scripts(
    dialect: InferenceDialect, *, clean_cuts: bool = True, error_lines: bool = True
) -> st.SearchStrategy[Script]:
    """Scripts of which the model can tell what a client makes of each step. Shrinks to ``account.reply('0')``.

    Args:
        dialect: whose codes errors have.
        clean_cuts: streams may end in good order without the mark of their end; text_generation has no such mark.
        error_lines: errors in a stream may stand on a bare line of JSON.
    """
    # A reset may swallow what came before it.
    allowed = {
        "cut": ["incomplete", "clean"] if clean_cuts and dialect != "text_generation" else ["incomplete"],
        "error_form": ["data", "line"] if error_lines else ["data"],
    }
    broken = st.sampled_from([Step("fault", "close"), Step("fault", "reset")])
    streams = faults(dialect, only=["error", "cut"]).map(lambda step: _foretold(step, allowed))
    one = st.one_of(replies(), errors(dialect, max_wait=2.0), broken, streams)
    return st.lists(one, min_size=1, max_size=3).map(script_of)


def _foretold(step: Step, allowed: Mapping[str, list[str]]) -> Step:
    """The step with only those options that the model knows, and only the values that are allowed."""
    options = {name: value for name, value in step.options.items() if name in _FORETOLD}
    for name, values in allowed.items():
        if name in options and options[name] not in values:
            options[name] = values[0]
    return Step("stream", step.said, options)


def _drawn(name: str) -> st.SearchStrategy[Any]:
    """What the machine's method of that name draws."""
    return st.runner().flatmap(lambda machine: getattr(machine, name)())


class ClientMachine(RuleBasedStateMachine):
    """Subclass it for a client of your own: say how to make it, call it, stream from it, and what it does on failure.

    Hypothesis then plays any order of scripts, calls, streams, streams left half-way, limits, time, rotated keys and
    ended tokens, and after each call holds the client to the model: what it returned or raised, how many requests it
    made and what they met, that no step was lost and no stream left open, and the verdict of `qfkit.grading`.

        class MyClient(ClientMachine):
            dialect = "v2"
            behaviour = Behaviour(attempts=3, retries={429, 500})

            def make_client(self, account, clock): ...
            def call(self, client, prompt): ...
            def stream(self, client, prompt): ...

        TestMyClient = MyClient.TestCase

    Nobody waits in real time if the client sleeps on the ``clock`` that it is given; the mock's is the same one.

    Attributes:
        dialect: what the client speaks.
        behaviour: what it does when a request fails.
        scripts: what requests may meet, a strategy of `Script`; None for answers, errors of the service, broken
            connections, and streams that break or fail in the middle.
        prompts: what is asked.
        ignore: codes of verdicts that may be found, see ``docs/verdicts.md``.
        streams: the client has streams; without them `stream` need not be overridden.
        leaves_streams: streams are left half-way too; False for a client that reads them whole before it hands them on.
    """

    dialect: ClassVar[InferenceDialect] = "text_generation"
    behaviour: ClassVar[Behaviour] = Behaviour()
    scripts: ClassVar[st.SearchStrategy[Script] | None] = None
    prompts: ClassVar[st.SearchStrategy[str]] = st.sampled_from(["你好", "hello", "天气怎么样？", "写一首诗\n关于春天"])
    ignore: ClassVar[Collection[str]] = ()
    streams: ClassVar[bool] = True
    leaves_streams: ClassVar[bool] = True

    # For subclasses

    def make_client(self, account: AccountHandle, clock: Clock) -> Any:
        """A client of ``account``: its ``url``, ``credentials`` and ``env()`` are what it needs.

        Args:
            account: as the keys are now; after a rotation another client is made.
            clock: where it should read the time and sleep. A client that cannot has to override `make_clock` too.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say how its client is made: override make_client()")

    def call(self, client: Any, prompt: str) -> str:
        """Ask, and return the text of the answer; raise whatever the client raises."""
        raise NotImplementedError(f"{type(self).__name__} has to say how its client is called: override call()")

    def stream(self, client: Any, prompt: str) -> Iterable[str]:
        """Ask for a stream, and yield its pieces of text; raise whatever the client raises.

        Best a generator: when it is closed the client should hang up.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say how its client streams: override stream()")

    def close(self, client: Any) -> None:
        """Close the client; the default calls its ``close`` if it has one."""
        if (close := getattr(client, "close", None)) is not None:
            close()

    def code_of(self, error: BaseException) -> int | str | None:
        """The service's code that an exception of the client names; None where it names none, and it is not looked at.

        The default looks for ``code`` and ``error_code``, on the exception and on what caused it.
        """
        seen: BaseException | None = error
        while seen is not None:
            for name in ("code", "error_code"):
                if isinstance(code := getattr(seen, name, None), (int, str)):
                    return code
            seen = seen.__cause__
        return None

    def make_clock(self) -> Clock:
        """The time of client and mock. The default stands still but for what is slept on it, from now on.

        A client that reads the machine's time needs one that shows it: `qfkit.testing.clock.SkippingClock`, or
        ``qianfan_clock``'s.
        """
        return ManualClock()

    # The machine

    def __init__(self) -> None:
        super().__init__()
        if self.dialect not in INFERENCE_DIALECTS:
            raise ValueError(f"dialect is one of {', '.join(INFERENCE_DIALECTS)}; got {self.dialect!r}")
        self.clock = self.make_clock()
        self._model = AccountModel(self.dialect, tokens=self.behaviour.tokens)
        self._calls = 0
        self._seen = 0
        self._server = MockServer(clock=self.clock, quota="none").start()
        try:
            #: The account under test, for rules of your own.
            self.account = self._server.account()
            #: The client under test.
            self.client = self.make_client(self.account, self.clock)
        except BaseException:
            self._server.stop()
            raise

    def teardown(self) -> None:
        """Close client and mock."""
        try:
            self.close(self.client)
        finally:
            self._server.stop()

    # What happens to the account

    @rule(script=_drawn("to_meet"))
    def script(self, script: Script) -> None:
        """Something is queued for the next requests."""
        for step in script.unrolled():
            step.apply(self.account)
        self._model.queue(script)

    @rule(quota=_drawn("limits"))
    def limit(self, quota: Quota) -> None:
        """The account may ask so much from now on."""
        quota.apply(self.account)
        self._model.limit(total=quota.limits.total, rpm=quota.limits.rpm)

    @precondition(lambda self: self._model.limited)
    @rule()
    def lift_limits(self) -> None:
        """The account may ask as much as it likes again."""
        self.account.quota()
        self._model.limit()

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.sleep(seconds)

    @rule(keep_old=st.booleans())
    def rotate(self, keep_old: bool) -> None:
        """The account gets new keys, and the client goes on with those it has."""
        self.account.rotate(keep_old=keep_old)
        self._model.rotate(keep_old=keep_old)

    @rule()
    def retire_old_keys(self) -> None:
        """All keys but the newest end."""
        self.account.retire_old_keys()
        self._model.retire_old_keys()

    @precondition(lambda self: self.behaviour.tokens)
    @rule(how=st.sampled_from(["revoked", "expired"]))
    def end_tokens(self, how: Literal["revoked", "expired"]) -> None:
        """The token that the client has bought ends early."""
        if how == "revoked":
            self.account.revoke_tokens()
        else:
            self.account.expire_tokens()
        self._model.end_tokens(how)

    # What the client does

    @precondition(lambda self: not self._model.keys_newest)
    @rule()
    def reconnect(self) -> None:
        """A new client takes the place of the old one, with the newest keys."""
        self.close(self.client)
        self._model.connect()
        self.client = self.make_client(self.account, self.clock)

    @rule(prompt=_drawn("questions"))
    def ask(self, prompt: str) -> None:
        """The client asks for a whole answer."""
        telling = self._telling("call", prompt)
        text, error = "", None
        try:
            text = self.call(self.client, telling.prompt)
        except Exception as raised:  # noqa: BLE001 - whatever the client raises
            error = raised
        self._judge(telling, text, error, streamed=False)

    @precondition(lambda self: self.streams)
    @rule(prompt=_drawn("questions"))
    def read_stream(self, prompt: str) -> None:
        """The client asks for a stream, which is read to its end."""
        telling = self._telling("stream", prompt)
        pieces: list[str] = []
        error: Exception | None = None
        try:
            for piece in self.stream(self.client, telling.prompt):
                pieces.append(piece)  # noqa: PERF402 - what came before an error counts
        except Exception as raised:  # noqa: BLE001 - whatever the client raises
            error = raised
        self._judge(telling, "".join(pieces), error, streamed=True)

    @precondition(lambda self: self.streams and self.leaves_streams and self._model.idle)
    @rule(prompt=_drawn("questions"))
    def leave_stream(self, prompt: str) -> None:
        """The client asks for a stream, and its caller stops after the first piece."""
        self.script(Script((Step("stream", ["春", "夏"], {"stall_after": 1, "stall": _SILENCE}),)))
        telling = self._telling("stream", prompt)
        telling.what += ", left after its first piece"
        text, error = "", None
        try:
            pieces = iter(self.stream(self.client, telling.prompt))
            text = next(pieces, "")
            if (close := getattr(pieces, "close", None)) is not None:
                close()
            del pieces
        except Exception as raised:  # noqa: BLE001 - whatever the client raises
            error = raised
        self._judge(telling, text, error, streamed=True, left=True)

    # What is drawn

    def to_meet(self) -> st.SearchStrategy[Script]:
        """What requests may meet."""
        if self.scripts is not None:
            return self.scripts
        behaviour = self.behaviour
        return foretold_scripts(self.dialect, clean_cuts=behaviour.sees_cuts, error_lines=behaviour.sees_lines)

    def limits(self) -> st.SearchStrategy[Quota]:
        """What the account may ask; by the minute only where all waits are on the clock."""
        kinds = ("total", "rpm") if isinstance(self.clock, ManualClock) else ("total",)
        return quotas(only=kinds, high=4, windows=["fixed"])

    def questions(self) -> st.SearchStrategy[str]:
        """What is asked."""
        return self.prompts

    # What is checked

    @invariant()
    def in_step(self) -> None:
        """No step of the script is lost or met twice, and requests come of calls, and of nothing else."""
        if late := self._new():
            telling = Telling("between calls", entries=late, outcome=f"{len(late)} more")
            raise telling.failure("went-on", "no requests after a call has returned")
        waiting, expected = self.account.waiting, [str(step) for step in self._model.script]
        if len(waiting) != len(expected):
            telling = Telling("after this", outcome=f"these wait: {', '.join(waiting) or 'none'}")
            raise telling.failure("steps-lost", f"these steps wait: {', '.join(expected) or 'none'}")

    def _telling(self, verb: str, prompt: str) -> Telling:
        self._calls += 1
        self.clock.sleep(_PAUSE)
        prompt = (
            f"{prompt} ({self._calls})"  # as in no other call, so that verdicts know which requests belong together
        )
        return Telling(f"{verb}({prompt!r})", prompt)

    def _new(self) -> list[Entry]:
        """The chats that came since the last look."""
        found = self._server.requests[self._seen :]
        self._seen += len(found)
        return [entry for entry in found if entry.dialect == self.dialect and entry.operation == "chat"]

    def _judge(
        self, telling: Telling, text: str, error: Exception | None, *, streamed: bool, left: bool = False
    ) -> None:
        """Hold what came of a call to the model, then the client to the verdict."""
        shown = f"{type(error).__name__}: {error}" if error is not None else ""
        said = f"the text {text!r}" if streamed else f"returned {text!r}"
        telling.outcome = said if error is None else f"raised {shown}" if not text else f"{said}, then raised {shown}"
        telling.entries = self._new()
        met = foretell(self._model, self.behaviour, telling, streamed=streamed)
        if met.ending == "answer":
            self._hold_answer(telling, met, text, error, left=left)
        else:
            self._hold_failure(telling, met, text, error)
            self.account.noticed()
        if left:
            self._hold_closed(telling)
        self.account.verdict().assert_ok(ignore=self.ignore)

    def _hold_answer(self, telling: Telling, met: Met, text: str, error: Exception | None, *, left: bool) -> None:
        if error is not None:
            raise telling.failure("failed", _words(met))
        if left:
            if not (text and met.text is not None and met.text.startswith(text)):
                raise telling.failure("other-text", f"the first piece of {met.text!r}")
        elif text != met.text and (met.text is not None or not text):
            raise telling.failure("other-text", _words(met))

    def _hold_failure(self, telling: Telling, met: Met, text: str, error: Exception | None) -> None:
        if error is None:
            raise telling.failure("not-noticed", _words(met))
        if not (met.text or "").startswith(text):
            raise telling.failure("other-text", _words(met))
        code = self.code_of(error)
        if met.spec is not None and code is not None and str(code) != str(met.spec.code):
            telling.outcome += f" (its code is {code!r})"
            raise telling.failure("other-code", _words(met))

    def _hold_closed(self, telling: Telling) -> None:
        """The mock sees the client hang up, soon."""
        waits = threading.Event()  # in real time, whatever the clock
        entry = telling.entries[-1]
        for _ in range(int(_PATIENCE / _GLANCE)):
            if entry.outcome != "pending":
                return
            waits.wait(_GLANCE)
        telling.outcome = f"the connection is open {_PATIENCE:g} s later"
        raise telling.failure("stream-open", "that the client hangs up when the stream is closed")


def _words(met: Met) -> str:
    """What should have come of the call."""
    if met.ending == "answer":
        return f"the text {met.text!r}" if met.text is not None else "the text that the mock made up"
    before = f"at most the text {met.text!r}, then " if met.text else ""
    return before + (f"an error with code {met.spec.code!r}" if met.spec else "an error, as the answer is not whole")

"""What a user subclasses, or calls: a class of tests, one for each case."""

from __future__ import annotations

import fnmatch
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.testing.conformance.case import Ability, Case
from qfkit.testing.conformance.hooks import PROPERTY
from qfkit.testing.conformance.judging import NotConforming, judge, tell
from qfkit.testing.conformance.shape import Shape
from qfkit.testing.conformance.stage import Stage
from qfkit.testing.conformance.table import CASES

if TYPE_CHECKING:
    from mock_server import MockServer

#: Ability -> why a case that needs it does not apply.
_LACKS: dict[Ability, str] = {
    "stream": "the client has no streams (streams = False)",
    "retries": "the client tries nothing again (retries = False)",
    "signs": "the client signs nothing (signs = True where it does)",
    "tokens": "the client buys no tokens (tokens = True where it does)",
    "sse": "the client reads lines of JSON, not server-sent events (framing = 'lines')",
    "read_timeout": "the client's read timeout is not declared (read_timeout = seconds)",
}

#: Variables whose values are secret: what a client with wrong keys is given other ones of.
_SECRET = ("QIANFAN_SECRET_KEY", "QIANFAN_SK", "QIANFAN_BEARER_TOKEN", "OPENAI_API_KEY")


class Conformance:
    """Tests of a client against every case of its dialect. Subclass it, under a name that pytest collects.

    ``make`` is called once a case, on a fresh account, with the environment that points at it (`qianfan_env`); what it
    returns is ``self.client``, and is closed afterwards if it has a ``close()``. ``call`` and ``stream`` ask it.

    Attributes:
        dialect: what the client speaks: ``text_generation``, ``v1`` or ``v2``.
        streams: it has streams.
        retries: it tries again by itself.
        signs: it signs requests; None for text_generation alone. With v1, say True for IAM keys.
        tokens: it buys access tokens and renews them; None for v1 without ``signs`` alone.
        framing: how it reads streams of text_generation: ``sse``, or ``lines`` where it does not accept
            ``text/event-stream`` and is sent a JSON object a line.
        read_timeout: seconds that it waits for bytes; make it short in ``make``, such as 0.3, and say so here. None
            leaves out the cases that need it.
        errors: what it may raise; by default anything but what a program raises by accident, such as `KeyError`.
        deviations: name of a case, or a pattern (``fields/*``) -> why the client does otherwise. Such a case is
            expected to fail; if it passes, the test fails, and the entry is to be taken out.
        level: ``required`` leaves out what is only recommended.
        packages: distributions whose versions belong beside the results.
        note: what a reader of the results should know.
        cases: those that are played, where not all are.
    """

    dialect: ClassVar[str] = ""
    streams: ClassVar[bool] = True
    retries: ClassVar[bool] = True
    signs: ClassVar[bool | None] = None
    tokens: ClassVar[bool | None] = None
    framing: ClassVar[Literal["sse", "lines"]] = "sse"
    read_timeout: ClassVar[float | None] = None
    errors: ClassVar[tuple[type[BaseException], ...]] = (Exception,)
    deviations: ClassVar[Mapping[str, str]] = {}
    level: ClassVar[Literal["required", "recommended"]] = "recommended"
    packages: ClassVar[tuple[str, ...]] = ()
    note: ClassVar[str] = ""
    cases: ClassVar[Sequence[Case]] = CASES

    client: Any = None
    env: Mapping[str, str] = {}

    def make(self, env: Mapping[str, str]) -> Any:  # noqa: ARG002 - for those that override it
        """The client for one case, made of the environment in ``env``; ``os.environ`` has it too."""
        return None

    def call(self, prompt: str) -> str:
        """Ask ``prompt``; the text of the whole answer."""
        raise NotImplementedError

    def stream(self, prompt: str) -> Iterable[str]:
        """Ask ``prompt``; the pieces of the answer's text as they come."""
        raise NotImplementedError

    # What pytest calls

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test for each case of the dialect."""
        if "conformance_case" in metafunc.fixturenames:
            self.check()
            metafunc.parametrize("conformance_case", list(self._parameters()))

    @pytest.mark.qianfan(mock_only=True)
    def test_conforms(
        self,
        conformance_case: Case,
        request: pytest.FixtureRequest,
        qianfan_server: MockServer,
        qianfan_clock: object,  # noqa: ARG002 - asked for by name: waits of minutes take milliseconds
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Play one case."""
        __tracebackhide__ = True
        case = conformance_case
        suite = request.node.getparent(pytest.Class).name
        record: dict[str, Any] = {
            "suite": suite,
            "module": type(self).__module__,
            "dialect": self.dialect,
            "packages": list(self.packages),
            "note": self.note,
            "case": case.name,
            "level": case.level,
            "message": "",
        }
        request.node.user_properties.append((PROPERTY, record))
        if why := self.does_not_apply(case):
            record["message"] = why
            pytest.skip(f"does not apply: {why}")
        record["message"] = self.reason(case) or ""
        luck = random.getstate()
        random.seed(case.name)  # a jitter drawn from here is the same in every run
        account = qianfan_server.account()
        self.env = self._environment(account.env(), case, monkeypatch)
        self.client = self.make(self.env)
        stage = Stage(
            case,
            account,
            Shape(self.dialect, self.framing == "sse"),
            call=self.call,
            stream=self.stream,
            read_timeout=self.read_timeout,
            secrets={name: self.env[name] for name in _SECRET if name in self.env},
        )
        try:
            case.script(stage)
            outcome = case.play(stage)
            complaints = judge(stage, outcome, self.errors)
        finally:
            self.close()
            random.setstate(luck)
            qianfan_server.remove(account)
        if complaints:
            record["complaints"] = complaints
            raise NotConforming(case, complaints, tell(stage, outcome, complaints, suite))

    def close(self) -> None:
        """Put away what `make` made, after each case."""
        close = getattr(self.client, "close", None)
        if callable(close):
            with suppress(Exception):
                close()

    # What a case is for this client

    @classmethod
    def check(cls) -> None:
        """See that what is declared can be.

        Raises:
            pytest.UsageError: it cannot; says what would be right.
        """
        if cls.dialect not in INFERENCE_DIALECTS:
            known = ", ".join(map(repr, INFERENCE_DIALECTS))
            raise pytest.UsageError(f"{cls.__name__}.dialect is one of {known}; got {cls.dialect!r}")
        if cls.framing not in {"sse", "lines"} or (cls.framing == "lines" and cls.dialect != "text_generation"):
            raise pytest.UsageError(
                f"{cls.__name__}.framing is 'sse', or 'lines' for text_generation; got {cls.framing!r}"
            )
        if cls.call is Conformance.call:
            raise pytest.UsageError(
                f"{cls.__name__} has no call(self, prompt), which asks and returns the text of the answer"
            )
        if cls.streams and cls.stream is Conformance.stream:
            raise pytest.UsageError(
                f"{cls.__name__} has no stream(self, prompt), which yields pieces of text; or say streams = False"
            )
        names = [case.name for case in CASES if cls.dialect in case.dialects]
        for pattern in cls.deviations:
            if not fnmatch.filter(names, pattern):
                near = get_close_matches(pattern, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "qfkit.testing.conformance.CASES has them all"
                raise pytest.UsageError(f"{cls.__name__}.deviations: {cls.dialect} has no case {pattern!r}; {hint}")

    @classmethod
    def reason(cls, case: Case) -> str | None:
        """Why the client is known to fail this case, None when it is not."""
        if case.name in cls.deviations:
            return cls.deviations[case.name]
        return next((why for pattern, why in cls.deviations.items() if fnmatch.fnmatch(case.name, pattern)), None)

    @classmethod
    def does_not_apply(cls, case: Case) -> str | None:
        """Why a case says nothing about this client, None when it does."""
        if cls.level == "required" and case.level == "recommended":
            return "it is only recommended (level = 'required')"
        signs = cls.dialect == "text_generation" if cls.signs is None else cls.signs
        tokens = (cls.dialect == "v1" and not signs) if cls.tokens is None else cls.tokens
        able: dict[Ability, bool] = {
            "stream": cls.streams,
            "retries": cls.retries,
            "signs": signs,
            "tokens": tokens,
            "sse": cls.framing == "sse",
            "read_timeout": cls.read_timeout is not None,
        }
        return next((_LACKS[need] for need in case.needs if not able[need]), None)

    def _parameters(self) -> Iterator[Any]:
        for case in self.cases:
            if self.dialect in case.dialects:
                why = None if self.does_not_apply(case) else self.reason(case)
                marks = [pytest.mark.xfail(reason=why, strict=True, raises=NotConforming)] if why else []
                yield pytest.param(case, id=case.name, marks=marks)

    def _environment(self, env: Mapping[str, str], case: Case, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        given = {**env, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        if case.keys == "wrong":
            given |= {name: _other(given[name]) for name in _SECRET if name in given}
        for name in [name for name in os.environ if name.startswith(("QIANFAN_", "OPENAI_")) and name not in given]:
            monkeypatch.delenv(name)  # a developer's own
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return given


def _other(secret: str) -> str:
    return secret[:-4] + ("0000" if not secret.endswith("0000") else "1111")


def conformance(
    call: Callable[[str], str],
    stream: Callable[[str], Iterable[str]] | None = None,
    *,
    dialect: str,
    **declared: Any,
) -> type[Conformance]:
    """A class of tests for functions that find the mock in the environment.

    ``TestMine = conformance(ask, ask_stream, dialect="v2")`` is all a module of tests needs.

    Args:
        call: returns the text of the answer to a prompt.
        stream: yields its pieces; None for a client without streams.
        dialect: what they speak.
        declared: other attributes of `Conformance`, such as ``retries=False`` or ``deviations={...}``.

    Raises:
        TypeError: there is no such attribute; the message names the nearest.
    """
    known = sorted(Conformance.__annotations__.keys() - {"client", "env"})
    for name in declared:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(known)}"
            raise TypeError(f"conformance() has no argument {name!r}; {hint}")

    class Suite(Conformance):
        def call(self, prompt: str) -> str:
            return call(prompt)

        def stream(self, prompt: str) -> Iterable[str]:
            assert stream is not None
            return stream(prompt)

    Suite.dialect, Suite.streams = dialect, stream is not None
    for name, value in declared.items():
        setattr(Suite, name, value)
    Suite.__name__ = Suite.__qualname__ = getattr(call, "__name__", "Suite")
    Suite.__module__ = getattr(call, "__module__", __name__)
    return Suite

"""Clients that a load test can make calls with: the reference client, the official SDK, openai, or anybody's own.

All are held to one small protocol, `Caller`. Who writes a factory of their own gives its path, ``--client
package.module:factory``; it is called once for each user with a `Setting`, and returns such an object.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, NamedTuple, Protocol

import requests

from loadtests.measuring.outcomes import attempted
from loadtests.measuring.samples import Attempted, Kind, Outcome, Phase, Sample
from loadtests.planning.spelling import PlanError
from loadtests.sending.watching import Request, Watch, install
from qfkit.client import Client, QianfanError, RateLimits, RetryPolicy
from qfkit.protocol.dialects import InferenceDialect


class Setting(NamedTuple):
    """What a client of one user is made of.

    Attributes:
        url: base URL of the service.
        dialect: API family to speak.
        model: to ask, None for the client's default.
        environ: holds the keys, under the official SDK's names (``QIANFAN_BEARER_TOKEN`` and so on).
        attempts: requests of one call at most; None for what the client does by itself.
        timeout: seconds to wait for an answer; None for the client's own.
        seed: tells users apart; from it come the waits of clients that let themselves be seeded.
    """

    url: str
    dialect: InferenceDialect
    model: str | None
    environ: Mapping[str, str]
    attempts: int | None = None
    timeout: float | None = None
    seed: str = ""


class Said(NamedTuple):
    """An answer, and what the client knows of its cost."""

    text: str
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class Caller(Protocol):
    """A client as one user has it. One call at a time.

    A failure is an exception. Its ``status_code`` (or ``status``) and ``code`` are reported where it has them, else
    the name of its class. A ``close`` method, if there is one, is called at the end.
    """

    def chat(self, prompt: str) -> Said | str | None:
        """Ask for a whole answer; the answer, if it is at hand."""
        ...

    def stream(self, prompt: str) -> Iterable[str]:
        """Ask for a stream: its pieces of content, as they come."""
        ...


#: Makes the client of one user.
Factory = Callable[[Setting], Caller]


# Those that we know


class _Reference:
    """`qfkit.Client`, which tells of its attempts itself."""

    def __init__(self, setting: Setting) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        more: dict[str, Any] = {} if setting.timeout is None else {"timeout": setting.timeout}
        self._client = Client.from_env(
            setting.environ,
            base_url=setting.url,
            iam_base_url=setting.url,
            dialect=setting.dialect,
            model=setting.model,
            limits=RateLimits.off(),  # what a quota does to it shall be seen
            retry=RetryPolicy() if setting.attempts is None else RetryPolicy(attempts=setting.attempts),
            session=self._session,
            random=Random(setting.seed),
            **more,
        )

    def chat(self, prompt: str) -> Said:
        reply = self._client.chat(prompt)
        self.attempts = reply.attempts
        usage = reply.usage
        return Said(reply.text, usage.prompt_tokens, usage.completion_tokens) if usage else Said(reply.text)

    def stream(self, prompt: str) -> Iterable[str]:
        with self._client.stream(prompt) as stream:
            for chunk in stream:
                yield chunk.text
            self.attempts = stream.attempts

    def close(self) -> None:
        self._client.close()
        self._session.close()


class _Official:
    """The official SDK, ``qianfan``: v1 with an application's keys, v2 with a bearer token."""

    def __init__(self, setting: Setting) -> None:
        _only(setting, "the official SDK", ("v1", "v2"))
        _point_sdk(setting)
        qianfan = importlib.import_module("qianfan")
        version = "1" if setting.dialect == "v1" else "2"
        self._chat = qianfan.ChatCompletion(version=version)
        self._options: dict[str, Any] = {"model": setting.model} if setting.model else {}
        if setting.attempts is not None:
            self._options["retry_count"] = setting.attempts
        if setting.timeout is not None:
            self._options["request_timeout"] = setting.timeout

    def chat(self, prompt: str) -> Said:
        body = self._chat.do(messages=[{"role": "user", "content": prompt}], **self._options).body
        return Said(_content(body), *_tokens(body.get("usage")))

    def stream(self, prompt: str) -> Iterable[str]:
        for event in self._chat.do(messages=[{"role": "user", "content": prompt}], stream=True, **self._options):
            yield _content(event.body)


def _point_sdk(setting: Setting) -> None:
    """Set the variables that the SDK reads, once a process: it keeps them in a configuration of its own."""
    wanted = ("AK", "SK") if setting.dialect == "v1" else ("BEARER_TOKEN",)
    missing = [f"QIANFAN_{name}" for name in wanted if not setting.environ.get(f"QIANFAN_{name}")]
    if missing and not all(setting.environ.get(f"QIANFAN_{name}") for name in ("ACCESS_KEY", "SECRET_KEY")):
        raise PlanError(
            f"the official SDK needs {' and '.join(missing)} for {setting.dialect}: 'qfkit mock' prints them"
        )
    keys = wanted if not missing else ("ACCESS_KEY", "SECRET_KEY")
    urls = dict.fromkeys(("BASE_URL", "CONSOLE_API_BASE_URL", "IAM_BASE_URL"), setting.url)
    others = {"DISABLE_CACHE": "true", "DOT_ENV_CONFIG_FILE": os.devnull}
    given = {name: setting.environ[f"QIANFAN_{name}"] for name in keys}
    chosen = {f"QIANFAN_{name}": value for name, value in (urls | others | given).items()}
    if all(os.environ.get(name) == value for name, value in chosen.items()):
        return
    for name in ("AK", "SK", "ACCESS_KEY", "SECRET_KEY", "BEARER_TOKEN", "ACCESS_TOKEN"):
        os.environ.pop(f"QIANFAN_{name}", None)
    os.environ |= chosen
    config: Any = importlib.import_module("qianfan.config")
    config._GLOBAL_CONFIG = None  # what it read before, if anything
    logging.getLogger("qianfan").setLevel(logging.CRITICAL)  # a line for every failure, which are counted here


class _OpenAI:
    """openai-python, on v2."""

    def __init__(self, setting: Setting) -> None:
        _only(setting, "openai", ("v2",))
        key = setting.environ.get("QIANFAN_BEARER_TOKEN") or setting.environ.get("OPENAI_API_KEY")
        if not key:
            raise PlanError("openai needs QIANFAN_BEARER_TOKEN or OPENAI_API_KEY: 'qfkit mock' prints them")
        client = _openai(f"{setting.url}/v2", key, setting.attempts, setting.timeout)
        self._create = client.chat.completions.create  # these names are looked up, and imported, once
        self._model = setting.model or "ernie-4.0-8k"

    def _ask(self, prompt: str, **more: Any) -> Any:
        return self._create(model=self._model, messages=[{"role": "user", "content": prompt}], **more)

    def chat(self, prompt: str) -> Said:
        body = self._ask(prompt).model_dump()
        return Said(_content(body), *_tokens(body.get("usage")))

    def stream(self, prompt: str) -> Iterable[str]:
        with self._ask(prompt, stream=True) as events:
            for event in events:
                yield _content(event.model_dump())


@functools.lru_cache(maxsize=8)
def _openai(base_url: str, key: str, attempts: int | None, timeout: float | None) -> Any:
    """One client for all users of a process, as openai advises: each of its own would read all root certificates."""
    more: dict[str, Any] = {} if attempts is None else {"max_retries": attempts - 1}
    if timeout is not None:
        more["timeout"] = timeout
    return importlib.import_module("openai").OpenAI(base_url=base_url, api_key=key, **more)


def _content(body: Mapping[str, Any]) -> str:
    """The content of an answer or an event, in the shape of v1 or of v2."""
    choices = body.get("choices") or [{}]
    message = choices[0].get("message") or choices[0].get("delta") or {}
    return str(body.get("result") or message.get("content") or "")


def _tokens(usage: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    return (usage.get("prompt_tokens"), usage.get("completion_tokens")) if usage else (None, None)


def _only(setting: Setting, name: str, dialects: tuple[str, ...]) -> None:
    if setting.dialect not in dialects:
        raise PlanError(f"{name} does not speak {setting.dialect}: give --dialect {' or --dialect '.join(dialects)}")


#: Name -> (its factory, the module that must be there, how it gets there).
CLIENTS: dict[str, tuple[Factory, str, str]] = {
    "qfkit": (_Reference, "qfkit", "qfkit"),
    "sdk": (_Official, "qianfan", "qianfan"),
    "openai": (_OpenAI, "openai", "openai"),
}


def factory_of(name: str) -> Factory:
    """The factory of a client: a name in `CLIENTS`, or ``package.module:factory``.

    Raises:
        PlanError: there is no such client, or it is not installed; the message says what to do.
    """
    if name in CLIENTS:
        known, needed, package = CLIENTS[name]
        if importlib.util.find_spec(needed) is None:
            raise PlanError(
                f"--client {name} needs the package {package}, which is not installed: pip install {package}"
            )
        return known
    path, colon, attribute = name.partition(":")
    if not colon or not path or not attribute:
        raise PlanError(
            f"--client is {', '.join(CLIENTS)}, or the path of a factory such as my_app.client:for_load_tests; "
            f"got {name!r}"
        )
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise PlanError(
            f"--client {name}: {path} cannot be imported ({error}). Its folder must be on PYTHONPATH"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        own = [
            key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", None) == path
        ]
        has = ", ".join(sorted(key for key in own if not key.startswith("_")))
        raise PlanError(f"--client {name}: {path} has no function {attribute!r}; it has {has or 'none'}")
    factory: Factory = found
    return factory


def ready(name: str) -> None:
    """Make this process ready for a client, before anything is measured: import it, and put the watch at its doors.

    Raises:
        PlanError: as `factory_of`.
    """
    factory_of(name)
    if name in CLIENTS:
        importlib.import_module(CLIENTS[name][1])
    install()


# One call


class Call:
    """One call under way, from which a `Sample` is made.

    Args:
        caller: makes it.
        kind: ``chat`` or ``stream``.
        planned: moment of the intended sending on the clock of `time.perf_counter`; None in a closed model.
    """

    def __init__(self, caller: Caller, kind: Kind, planned: float | None = None) -> None:
        self._caller = caller
        self._kind = kind
        self._planned = planned
        self._pieces: list[tuple[float, str]] = []
        self._said = Said("")
        self._start = time.perf_counter()
        self.error: Exception | None = None

    def make(self, prompt: str) -> None:
        """Make it, to its end; what it failed with is in `error`."""
        try:
            if self._kind == "stream":
                for piece in self._caller.stream(prompt):
                    self._pieces.append((time.perf_counter(), piece))
            else:
                said = self._caller.chat(prompt)
                self._said = said if isinstance(said, Said) else Said(said or "")
        except Exception as error:  # noqa: BLE001 - of a client that we do not know
            self.error = error

    def sample(self, seen: Watch, outcome: Outcome | None = None, *, measure_from: float = 0.0, **named: Any) -> Sample:
        """What came of it.

        Args:
            seen: its requests.
            outcome: ``cut_off`` when it did not come to its end.
            measure_from: Unix time from which on calls are measured; those before are the warm-up.
            named: scenario, client, dialect and so on of the sample.
        """
        end = time.perf_counter()
        attempts = seen.attempts
        sent = attempts[0].sent if attempts else self._start
        now = time.time()
        began = now - (end - sent)
        origin = sent if self._planned is None else self._planned
        since = [moment - origin for moment, text in self._pieces if text]
        head = attempts[-1].head if attempts else None
        teller = self.error or (self._caller if outcome is None else None)  # it told of the call before, maybe
        told = getattr(teller, "attempts", None)
        if told:
            ours = self.error if isinstance(self.error, QianfanError) else None
            sends = [(now - (end - request.sent), request.connected) for request in attempts]
            found = attempted(told, ours, began=now - (end - self._start), sends=sends)
        else:
            found = seen_attempts(attempts, self.error, end=end, wall=now)
        said = self._said
        return Sample(
            kind=self._kind,
            planned=None if self._planned is None else now - (end - origin),
            began=began,
            warmup=now - (end - origin) < measure_from,
            outcome=outcome or ("ok" if self.error is None else "failed"),
            attempts=found,
            requests=len(seen.requests),
            token_requests=len(seen.requests) - len(attempts),
            headers=None if head is None or self._kind != "stream" else max(0.0, head - origin),
            first_chunk=self._pieces[0][0] - origin if self._pieces else None,
            ttft=since[0] if since else None,
            e2e=since[-1] if since else None,
            end=max(0.0, end - origin),
            contents=since,
            empties=[moment - origin for moment, text in self._pieces if not text],
            prompt_tokens=said.prompt_tokens,
            output_tokens=said.output_tokens,
            tokens_from="server" if said.output_tokens is not None else None,
            **named,
        )


def seen_attempts(requests: list[Request], error: Exception | None, *, end: float, wall: float) -> list[Attempted]:
    """Attempts as they were seen from outside of the client.

    Args:
        requests: for answers, in order.
        error: what the call failed with.
        end: of the call, as ``time.perf_counter`` has it.
        wall: the same moment as Unix time.
    """
    found = []
    for index, request in enumerate(requests):
        last = index == len(requests) - 1
        until = end if last else request.over
        status, code, what = describe(error) if last and error is not None else (request.status, None, "")
        phase: Phase = ""
        if not last or error is not None:
            phase = "body" if request.head else "headers" if request.connected else "connect"
            if not last:
                what = "bad answer" if request.head else "no answer"
        before = requests[index - 1] if index else None
        found.append(
            Attempted(
                at=wall - (end - request.sent),
                status=status if status is not None else request.status,
                code=code,
                what="" if code is not None else what,
                phase=phase,
                waited=max(0.0, request.sent - before.over) if before else 0.0,
                elapsed=max(0.0, until - request.sent),
            )
        )
    return found


#: Members of exceptions, in other people's clients, that hold the HTTP status and the service's code.
_STATUS, _CODES = ("status_code", "status"), ("error_code", "code")


def describe(error: Exception) -> tuple[int | None, int | str | None, str]:
    """HTTP status, code of the service, and kind of an exception of any client."""
    status = next((value for name in _STATUS if isinstance(value := getattr(error, name, None), int)), None)
    codes = (getattr(error, name, None) for name in _CODES)
    code = next((value for value in codes if isinstance(value, (int, str)) and value not in {"", -1}), None)
    return status, code, type(error).__name__

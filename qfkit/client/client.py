"""The reference client: what a correct client of Qianfan does, no more.

A call passes through layers that are one verb each: ``chat`` or ``stream`` says what is asked, ``_call`` tries until
the policy is content, ``_authenticated`` renews a stale token once, ``_attempt`` sends one request and reads it.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping
from random import Random
from types import TracebackType
from typing import Any, TypeVar

import requests

from qfkit.client.answers import api_error, read_json, request_id
from qfkit.client.attempts import AttemptLog, Running
from qfkit.client.auth import AuthSetup, make_auth, new_nonce
from qfkit.client.calls import Call, Prompt, chat_call
from qfkit.client.credentials import (
    APP_ID_VARIABLE,
    check_base_url,
    dialect_of,
    is_real_host,
    read_base_url,
    read_credentials,
)
from qfkit.client.events import ChunkReader
from qfkit.client.exceptions import APIError, ConfigurationError, InvalidReply, QianfanError
from qfkit.client.replies import Reply
from qfkit.client.retry import RetryPolicy, run
from qfkit.client.schemes import Auth, Proof
from qfkit.client.streaming import Stream
from qfkit.client.transport import DEFAULT_TIMEOUT, Answer, Outgoing, Transport
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.dialects import BASE_URLS, INFERENCE_DIALECTS, InferenceDialect
from qfkit.protocol.messages import Json, MalformedReply, Usage, parse_reply

logger = logging.getLogger("qfkit.client")
# A library is silent until its user says otherwise.
logging.getLogger("qfkit").addHandler(logging.NullHandler())

T = TypeVar("T")

#: Calls of this process, over all clients: the number that ties the log lines of one call together.
_NUMBERS = itertools.count(1)


class Client:
    """Talks to Qianfan in one dialect. Safe to share between threads.

    Args:
        base_url: scheme and host of the service or a mock; None for the dialect's real host, where calls cost money.
        credentials: the keys. For v1, an application's keys (``ak``/``sk`` or ``access_token``) are preferred to an IAM
            pair, as in the official SDK; for v2, a ready ``bearer_token`` to one bought with an IAM pair.
        dialect: ``text_generation``, ``v1`` or ``v2``.
        model: for calls that name none. text_generation has no choice of model, and is sent none.
        retry: how often to try, and how long to wait in between.
        timeout: seconds, (connect, read) or one number for both. The read timeout bounds each wait for bytes: for a
            whole answer that is the time until it comes, for a stream the longest gap.
        session: your own `requests.Session`, with its proxies, certificates and adapters; yours to close. It should not
            retry by itself.
        clock: time, and how to sleep.
        random: where jitter is drawn.
        auth: the auth scheme, where a dialect has two: ``access_token`` or ``bce-auth-v1`` for v1.
        app_id: v2, names the application (header ``appid``) when the keys have several.
        iam_base_url: where v2 buys bearer tokens with an IAM pair; None for ``base_url`` if that is not Baidu's own (a
            mock serves everything), else for the real IAM host.

    Raises:
        ConfigurationError: something does not fit; nothing is sent before the first call.
    """

    def __init__(
        self,
        base_url: str | None = None,
        credentials: Credentials | None = None,
        dialect: InferenceDialect = "text_generation",
        *,
        model: str = "ernie-3.5-8k",
        retry: RetryPolicy | None = None,
        timeout: float | tuple[float, float] = DEFAULT_TIMEOUT,
        session: requests.Session | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        auth: str | None = None,
        app_id: str | None = None,
        iam_base_url: str | None = None,
    ) -> None:
        if dialect not in INFERENCE_DIALECTS:
            raise ConfigurationError(f"dialect is one of {', '.join(INFERENCE_DIALECTS)}; got {dialect!r}")
        self.dialect: InferenceDialect = dialect
        self.base_url = check_base_url(base_url if base_url is not None else BASE_URLS[dialect], dialect)
        self.model = model
        self._retry = retry if retry is not None else RetryPolicy()
        self._clock = clock
        self._random = random if random is not None else Random()
        self._closed = False
        keys = credentials if credentials is not None else Credentials()
        if iam_base_url is None:
            iam_base_url = BASE_URLS["iam"] if is_real_host(self.base_url) else self.base_url
        self.iam_base_url = check_base_url(iam_base_url, "iam")
        self._transport = Transport(session, timeout)
        try:
            setup = AuthSetup(
                credentials=keys,
                base_url=self.base_url,
                iam_base_url=self.iam_base_url,
                app_id=app_id,
                transport=self._transport,
                clock=clock,
                nonce=new_nonce,
            )
            self._auth = make_auth(dialect, auth, setup)
        except ConfigurationError:
            self._transport.close()
            raise
        self._secrets = keys.secrets()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Client:
        """A client from the official SDK's variables (wire reference 1.1).

        Keys: ``QIANFAN_ACCESS_KEY`` and ``_SECRET_KEY``, ``QIANFAN_AK`` and ``_SK``, ``QIANFAN_ACCESS_TOKEN``,
        ``QIANFAN_BEARER_TOKEN``. The dialect is the one given, else that of the first complete set in this order:
        access key pair (text_generation), AK pair or access token (v1), bearer token (v2). Hosts:
        ``QIANFAN_BASE_URL``, for v2 ``QIANFAN_CONSOLE_API_BASE_URL``, for bearer tokens ``QIANFAN_IAM_BASE_URL``.
        ``QIANFAN_APP_ID`` goes to v2.

        Args:
            environ: None for the process's own.
            overrides: arguments of `Client`; they win over the environment unless None.

        Raises:
            ConfigurationError: no keys, or not the ones that the dialect needs; the message names the variables.
        """
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in overrides.items() if value is not None}
        given.setdefault("credentials", read_credentials(environ))
        if "dialect" not in given:
            given["dialect"] = dialect_of(given["credentials"])
        elif given["dialect"] not in INFERENCE_DIALECTS:
            raise ConfigurationError(f"dialect is one of {', '.join(INFERENCE_DIALECTS)}; got {given['dialect']!r}")
        given.setdefault("base_url", read_base_url(environ, given["dialect"]))
        given.setdefault("iam_base_url", read_base_url(environ, "iam"))
        given.setdefault("app_id", environ.get(APP_ID_VARIABLE) or None)
        return cls(**given)

    def __repr__(self) -> str:
        return f"Client({self.base_url!r}, dialect={self.dialect!r}, auth={self._auth.scheme!r}, model={self.model!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. A session that was passed in stays open. Safe to repeat."""
        self._closed = True
        self._transport.close()

    def chat(self, prompt: Prompt, *, model: str | None = None, system: str | None = None, **params: Any) -> Reply:
        """Ask, and wait for the whole answer.

        Args:
            prompt: what the user says, or the messages so far: ``[{"role": "user", "content": "…"}, …]``.
            model: another model than the client's. v1 also takes a path such as ``/chat/my_service``.
            system: instructions for the model. v2 has a message for them and v1 a field; text_generation has neither,
                and gets them in front of the first user message.
            params: further fields of the request, as the dialect names them: ``temperature``, ``top_p``,
                ``max_output_tokens`` (v1), ``max_tokens`` … None leaves a field out.

        Raises:
            APIError: the service refused; its class says in what way, ``.spec`` what to do.
            TransportError: no answer after all attempts.
            InvalidReply: the answer is not one of this dialect.
            ConfigurationError: the arguments make no request.
        """
        return self._call(self._prepare(prompt, model, system, params, stream=False), self._read_whole)

    def stream(self, prompt: Prompt, *, model: str | None = None, system: str | None = None, **params: Any) -> Stream:
        """Ask, and get the answer as it is written. Arguments as `chat`.

        Returns when the first content is there; until then failures are retried and raised as by `chat`. After it the
        call is never sent again: iterating raises `StreamError`, with the text so far.
        """
        return self._call(self._prepare(prompt, model, system, params, stream=True), self._read_stream)

    def _prepare(
        self, prompt: Prompt, model: str | None, system: str | None, params: Mapping[str, Any], *, stream: bool
    ) -> Call:
        if self._closed:
            raise ConfigurationError("this client was closed; make a new one")
        if model is not None and self.dialect == "text_generation":
            logger.warning("text_generation has no choice of model: model=%r is not sent", model)
        return chat_call(self.dialect, prompt, model=model or self.model, system=system, params=params, stream=stream)

    def _call(self, call: Call, read: Callable[[_Trip, Answer], T]) -> T:
        log = AttemptLog(self._clock)
        number = next(_NUMBERS)
        logger.debug(
            "#%d %s %s %s: %r", number, call.dialect, "stream" if call.stream else "chat", call.model, call.preview
        )

        def on_retry(error: QianfanError, wait: float, reason: str) -> None:
            logger.warning("#%d failed, next attempt in %.3f s (%s): %s", number, wait, reason, error.summary)

        try:
            return run(
                self._retry,
                lambda: self._authenticated(call, read, log, number),
                clock=self._clock,
                random=self._random,
                log=log,
                on_retry=on_retry,
            )
        except QianfanError as error:
            error.attempts = log.attempts()
            logger.error("#%d failed in %.3f s: %s", number, log.elapsed(), error.summary)  # noqa: TRY400 - the caller gets the traceback
            raise

    def _authenticated(self, call: Call, read: Callable[[_Trip, Answer], T], log: AttemptLog, number: int) -> T:
        trip = _Trip(call, self._auth, self._secrets, log, number)
        try:
            return self._attempt(trip, read)
        except APIError as error:
            if log.refreshed or not self._auth.renew(error, trip.proof):
                raise
            logger.info("#%d token refused (%s), sending again with a new one", number, error.code)
        log.wait(0.0, "token-refresh")
        return self._attempt(_Trip(call, self._auth, self._secrets, log, number), read)

    def _attempt(self, trip: _Trip, read: Callable[[_Trip, Answer], T]) -> T:
        call, log, running = trip.call, trip.log, trip.running
        outgoing = Outgoing(
            "POST",
            self.base_url + call.path,
            call.body,
            {"Content-Type": "application/json", "Accept": call.accept},
        )
        try:
            answer = self._transport.send(outgoing, trip.sign, stream=call.stream)
            running.status = answer.status
            running.request_id = request_id(answer.headers)
            return read(trip, answer)
        except QianfanError as error:
            log.end(running, error)
            raise

    def _read_whole(self, trip: _Trip, answer: Answer) -> Reply:
        call, log = trip.call, trip.log
        data = read_json(call.dialect, answer, now=self._clock.time(), secrets=trip.secrets)
        try:
            said = parse_reply(call.dialect, data)
        except MalformedReply as error:
            raise InvalidReply(f"{error}. Check that dialect={call.dialect!r} is what base_url speaks") from error
        trip.running.request_id = trip.running.request_id or said.id
        log.end(trip.running)
        reply = Reply.of(
            said,
            model=call.model,
            request_id=trip.running.request_id,
            attempts=log.attempts(),
            latency=log.elapsed(),
            headers=answer.headers,
        )
        _log_success(trip.number, reply.latency, len(reply.attempts), reply.usage)
        return reply

    def _read_stream(self, trip: _Trip, answer: Answer) -> Stream:
        call, number = trip.call, trip.number
        is_json = "json" in answer.headers.get("Content-Type", "").lower()
        # v1 and v2 answer with plain JSON instead of a stream when they refuse (3.5, 5.2).
        if not 200 <= answer.status < 300 or (is_json and call.dialect != "text_generation"):
            read_json(call.dialect, answer, now=self._clock.time(), secrets=trip.secrets)
            raise InvalidReply(f"the {call.dialect} service sent a whole answer where a stream was asked for")

        def check(event: Json) -> APIError | None:
            return api_error(call.dialect, 200, answer.headers, event, now=self._clock.time(), secrets=trip.secrets)

        def on_end(stream: Stream, error: QianfanError | None) -> None:
            if error is None:
                _log_success(number, stream.latency, len(stream.attempts), stream.usage)
            else:
                logger.error("#%d stream failed in %.3f s: %s", number, stream.latency, error.summary)

        stream = Stream(
            answer=answer,
            reader=ChunkReader(call.dialect, check),
            log=trip.log,
            running=trip.running,
            model=call.model,
            request_id=trip.running.request_id,
            on_end=on_end,
        )
        stream.open()
        return stream


class _Trip:
    """One attempt on its way: what is sent, what proved who sent it, what must not be written down."""

    __slots__ = ("_auth", "_known", "call", "log", "number", "proof", "running")

    def __init__(self, call: Call, auth: Auth, secrets: tuple[str, ...], log: AttemptLog, number: int) -> None:
        self._auth = auth
        self._known = secrets
        self.call = call
        self.log = log
        self.number = number
        self.proof = Proof()
        self.running: Running = log.start()

    def sign(self, request: requests.PreparedRequest) -> None:
        """Prove who asks."""
        self.proof = self._auth.authorize(request)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys, and the token or signature of this attempt."""
        return (*self._known, *self.proof.sensitive)


def _log_success(number: int, seconds: float, attempts: int, usage: Usage | None) -> None:
    used = usage or Usage()
    logger.info(
        "#%d answered in %.3f s, attempts: %d, tokens: %d in, %d out",
        number,
        seconds,
        attempts,
        used.prompt_tokens,
        used.completion_tokens,
    )

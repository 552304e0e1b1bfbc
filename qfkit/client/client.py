"""The reference client: what a correct client of Qianfan does, no more.

The verbs are here; how a call is made, whatever it asks for, is in `caller`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Literal

import requests

from qfkit.client import operations
from qfkit.client.auth import AuthSetup, make_auth, new_nonce
from qfkit.client.batch import Batch
from qfkit.client.budget import Purse
from qfkit.client.cache import Cache
from qfkit.client.caller import Caller
from qfkit.client.calls import Call, Prompt, as_messages, chat_call
from qfkit.client.chats import Chats
from qfkit.client.conversation import Conversation
from qfkit.client.credentials import (
    APP_ID_VARIABLE,
    check_base_url,
    dialect_of,
    is_real_host,
    read_base_url,
    read_credentials,
)
from qfkit.client.exceptions import ConfigurationError
from qfkit.client.history import HistoryLimits
from qfkit.client.images import ImageSource, image2text_call, with_images
from qfkit.client.limits import Limiter, RateLimits, make_limiter
from qfkit.client.logs import logger
from qfkit.client.merging import MOST, Merged, Merger
from qfkit.client.operations import Embeddings, Ranking, TokenCount
from qfkit.client.progress import Told, make_progress
from qfkit.client.providers import KeyRing, Provider, read_dotenv
from qfkit.client.replies import Reply
from qfkit.client.resume import Resume, check_mode, to_continue
from qfkit.client.retry import RetryPolicy
from qfkit.client.rotation import RotatingAuth
from qfkit.client.safety.guard import Guard
from qfkit.client.safety.policy import Safety, check_safety
from qfkit.client.schemas import Tool, ToolFunction
from qfkit.client.schemes import Auth
from qfkit.client.streaming import Stream
from qfkit.client.tokens import SharedTokens
from qfkit.client.tools import ToolResult, run_tools
from qfkit.client.transport import DEFAULT_TIMEOUT, Transport
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.dialects import BASE_URLS, INFERENCE_DIALECTS, InferenceDialect
from qfkit.protocol.messages import Message

# A library is silent until its user says otherwise.
logging.getLogger("qfkit").addHandler(logging.NullHandler())


class Client:
    """Talks to Qianfan in one dialect. Safe to share between threads.

    Args:
        base_url: scheme and host of the service or a mock; None for the dialect's real host, where calls cost money.
        credentials: the keys, or a provider of them, which may hand out others at any time: a `KeyFile`, or any
            callable that returns `Credentials`, such as a key service. For v1, an application's keys (``ak``/``sk`` or
            ``access_token``) are preferred to an IAM pair, as in the official SDK; for v2, a ready ``bearer_token`` to
            one bought with an IAM pair.
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
        limits: what the client keeps to by itself; None for the documented 100 requests a second of text_generation,
            and none for v1 and v2; ``RateLimits.off()`` for none at all. A `Limiter` shares them between clients.
        cache: keeps the answers of `chat` and `stream` for questions that come again; None for no cache.
        tokens: shares bought tokens between clients; None for tokens of one's own.
        safety: rules for what is sent and what is shown, such as ``Safety.default()``; None for none.

    Raises:
        ConfigurationError: something does not fit; nothing is sent before the first call.
    """

    def __init__(
        self,
        base_url: str | None = None,
        credentials: Credentials | Provider | None = None,
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
        limits: RateLimits | Limiter | None = None,
        cache: Cache | None = None,
        tokens: SharedTokens | None = None,
        safety: Safety | None = None,
    ) -> None:
        if dialect not in INFERENCE_DIALECTS:
            raise ConfigurationError(f"dialect is one of {', '.join(INFERENCE_DIALECTS)}; got {dialect!r}")
        self.dialect: InferenceDialect = dialect
        self.base_url = check_base_url(base_url if base_url is not None else BASE_URLS[dialect], dialect)
        self.model = model
        self._closed = False
        self._safety = check_safety(safety)
        if cache is not None and not isinstance(cache, Cache):
            raise ConfigurationError(f"cache is a Cache, as in cache=Cache(ttl=3600); got {type(cache).__name__}")
        ring = KeyRing(credentials, clock) if callable(credentials) else None
        keys = ring.current() if ring else Credentials() if credentials is None else credentials
        if not isinstance(keys, Credentials):
            raise ConfigurationError(f"credentials is a Credentials or a provider of them; got {type(keys).__name__}")
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
                tokens=tokens if tokens is not None else SharedTokens(),
            )

            def make(current: Credentials) -> Auth:
                return make_auth(dialect, auth, replace(setup, credentials=current))

            self._auth = RotatingAuth(ring, make) if ring else make(keys)
            self._limiter = make_limiter(limits, dialect, clock)
        except ConfigurationError:
            self._transport.close()
            raise
        policy = retry if retry is not None else RetryPolicy()
        caller = Caller(
            base_url=self.base_url,
            transport=self._transport,
            auth=self._auth,
            retry=policy,
            purse=Purse(policy.budget) if policy.budget is not None else None,
            limiter=self._limiter,
            clock=clock,
            random=random if random is not None else Random(),
            secrets=keys.secrets(),
        )
        self._caller = caller
        self._chats = Chats(caller, cache, self.base_url, app_id)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: str | Path | bool | None = None,
        **overrides: Any,
    ) -> Client:
        """A client from the official SDK's variables (wire reference 1.1).

        Keys: ``QIANFAN_ACCESS_KEY`` and ``_SECRET_KEY``, ``QIANFAN_AK`` and ``_SK``, ``QIANFAN_ACCESS_TOKEN``,
        ``QIANFAN_BEARER_TOKEN``. The dialect is the one given, else that of the first complete set in this order:
        access key pair (text_generation), AK pair or access token (v1), bearer token (v2). Hosts:
        ``QIANFAN_BASE_URL``, for v2 ``QIANFAN_CONSOLE_API_BASE_URL``, for bearer tokens ``QIANFAN_IAM_BASE_URL``.
        ``QIANFAN_APP_ID`` goes to v2.

        Args:
            environ: None for the process's own.
            dotenv: a ``.env`` file whose values stand in where the environment has none (extra ``dotenv``); True for
                the ``.env`` here or above; None for the one that ``QIANFAN_DOT_ENV_CONFIG_FILE`` names, if any.
            overrides: arguments of `Client`; they win over the environment unless None.

        Raises:
            ConfigurationError: no keys, or not the ones that the dialect needs; the message names the variables.
        """
        environ = read_dotenv(os.environ if environ is None else environ, dotenv)
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

    def chat(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        cache: bool = True,
        images: Sequence[ImageSource] = (),
        safety: Safety | Literal[False] | None = None,
        **params: Any,
    ) -> Reply:
        """Ask, and wait for the whole answer.

        Args:
            prompt: what the user says, or the messages so far: ``[{"role": "user", "content": "…"}, …]``.
            model: another model than the client's. v1 also takes a path such as ``/chat/my_service``.
            system: instructions for the model. v2 has a message for them and v1 a field; text_generation has neither,
                and gets them in front of the first user message.
            cache: False to ask in any case, and not to keep the answer. Without a cache it changes nothing.
            images: pictures to look at: paths, URLs, bytes or open files. v2 takes any number, v1 one, with one
                question to a model such as ``fuyu-8b`` (3.7); text_generation none.
            safety: other rules than the client's, False for none.
            params: further fields of the request, as the dialect names them: ``temperature``, ``top_p``,
                ``max_output_tokens`` (v1), ``max_tokens`` … None leaves a field out.

        Raises:
            APIError: the service refused; its class says in what way, ``.spec`` what to do.
            TransportError: no answer after all attempts.
            InvalidReply: the answer is not one of this dialect.
            ConfigurationError: the arguments make no request.
            InputRefused, UnsafeContent: a rule of ``safety`` does not let the question or the answer pass.
        """
        guard = self._guard(safety)
        if guard is not None:
            prompt, system = guard.inbound(as_messages(prompt), system)
        call = self._prepare(prompt, model, system, params, stream=False, images=images)
        reply = self._chats.whole(call, cached=cache)
        return reply if guard is None else guard.reply(reply)

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        cache: bool = True,
        resume: Resume | None = None,
        images: Sequence[ImageSource] = (),
        safety: Safety | Literal[False] | None = None,
        **params: Any,
    ) -> Stream:
        """Ask, and get the answer as it is written. Arguments as `chat`, and one more.

        Returns when the first content is there; until then failures are retried and raised as by `chat`. After it the
        call is not sent again, unless ``resume`` says how to go on: iterating raises `StreamError`, with the text so
        far. ``replay`` asks again and leaves out what was said before (`StreamError` if the answer is another one),
        ``continue`` shows the model what it said so far and asks for the rest; either as often as the retry policy
        allows. An answer that was resumed is not cached.
        """
        check_mode(resume)
        guard = self._guard(safety)
        if guard is not None:
            prompt, system = guard.inbound(as_messages(prompt), system)
        if resume == "continue":  # pictures stay with the question that they belong to
            prompt, images = with_images(self.dialect, prompt, images), ()
        call = self._prepare(prompt, model, system, params, stream=True, images=images)

        def again(text: str) -> Call:
            if resume == "replay":
                return call
            return self._prepare(to_continue(as_messages(prompt), text), model, system, params, stream=True)

        stream = self._chats.stream(call, cached=cache, resume=resume, again=again)
        return stream if guard is None else guard.stream(stream)

    def map(
        self,
        prompts: Iterable[Prompt],
        *,
        max_workers: int = 5,
        model: str | None = None,
        system: str | None = None,
        progress: bool | Told = False,
        **params: Any,
    ) -> Batch[Prompt, Reply]:
        """Ask many questions, several at a time. Answers come in the order of the questions.

        Args:
            prompts: the questions, each as for `chat`. Taken as answers are, so a generator may be endless.
            max_workers: questions asked at once, 1 to 1000; up to 100 keep their connections.
            model: as `chat`, for all.
            system: as `chat`, for all.
            progress: True for a bar on the terminal (extra ``progress``), or a function that is told how many are done,
                and of how many.
            params: as `chat`, for all; ``cache`` too.

        Returns:
            An iterator that gives for each question its `Reply`, or the `QianfanError` that it failed with. Close it,
            or use it as a context manager, to cancel what has not begun.
        """
        self._check_open()

        def ask(prompt: Prompt) -> Reply:
            return self.chat(prompt, model=model, system=system, **params)

        return Batch(ask, prompts, max_workers, make_progress(progress, prompts))

    def merge(
        self,
        questions: Sequence[str],
        *,
        most: int = MOST,
        max_workers: int = 5,
        model: str | None = None,
        system: str | None = None,
        **params: Any,
    ) -> list[Merged]:
        """Ask many short questions in few requests; answers that cannot be told apart are asked for one by one.

        Args:
            questions: texts that have nothing to do with each other. Those over 500 characters go by themselves.
            most: how many share a request, 1 to 100, within 32 KB and the model's limits.
            max_workers: requests at once, as `map`.
            model: as `chat`, for all.
            system: as `chat`, for all.
            params: as `chat`, for all.

        Returns:
            One `Merged` for each question, in order; one failure loses nothing else.

        Raises:
            ConfigurationError: a question is no text, or a number is out of its range.
        """
        self._check_open()

        def ask(prompt: str) -> Reply:
            return self.chat(prompt, model=model, system=system, **params)

        limits = HistoryLimits.of(self.dialect, model or self.model)
        return Merger(ask, limits, most=most, max_workers=max_workers).run(questions)

    def conversation(
        self,
        system: str | None = None,
        *,
        model: str | None = None,
        messages: Sequence[Message] | None = None,
        load: str | Path | None = None,
        limits: HistoryLimits | None = None,
        **params: Any,
    ) -> Conversation:
        """A talk of several turns, which remembers what was said as far as the model can take it.

        Args:
            system: instructions for the model.
            model: another model than the client's.
            messages: what was said before, from a question of the user's to an answer.
            load: a file that `Conversation.save` wrote, instead of ``messages``.
            limits: what a request may hold, None for what is documented of the model.
            params: as `chat`, for every question.

        Raises `ConfigurationError` for messages, or a file, that are no past of a conversation in this dialect.
        """
        self._check_open()
        return Conversation.begin(
            self, load, system=system, model=model, messages=messages, limits=limits, params=params
        )

    def run_tools(
        self,
        prompt: Prompt,
        tools: Sequence[ToolFunction | Tool],
        *,
        max_rounds: int = 5,
        max_repeats: int = 2,
        parallel: bool = False,
        strict: bool = False,
        on_text: Callable[[str], None] | None = None,
        **params: Any,
    ) -> ToolResult:
        """Ask, and let the model call Python functions until it has its answer (v1, v2). See `tools.run_tools`."""
        return run_tools(
            self,
            prompt,
            tools,
            max_rounds=max_rounds,
            max_repeats=max_repeats,
            parallel=parallel,
            strict=strict,
            on_text=on_text,
            params=params,
        )

    def embed(self, texts: Sequence[str], *, model: str | None = None) -> Embeddings:
        """Turn texts into vectors (v1, v2). More texts than the model takes at once are sent in several requests.

        Args:
            texts: one or more; the models cut or refuse what is over 384 (embedding-v1), 512 (bge) or 8192 (tao-8k)
                tokens.
            model: None for ``embedding-v1``.

        Raises:
            ConfigurationError: the dialect has no embeddings, or the arguments make no request; nothing was sent.
            QianfanError: as `chat`.
        """
        self._check_open()
        return operations.embed(self._caller, self.dialect, texts, model)

    def rerank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, model: str | None = None
    ) -> Ranking:
        """Sort documents by how well they answer a query, the best first (v1, v2).

        Args:
            query: at most 1600 characters (3.6).
            documents: 1 to 64 of them, each at most 4096 characters.
            top_n: how many to give back, None for all.
            model: None for ``bce-reranker-base``.

        Raises:
            ConfigurationError, QianfanError: as `embed`.
        """
        self._check_open()
        return operations.rerank(self._caller, self.dialect, query, documents, top_n=top_n, model=model)

    def count_tokens(self, text: str, *, model: str | None = None) -> TokenCount:
        """Count the tokens of a text: v1 asks the service; v2 and text_generation have no such call, and estimate.

        Args:
            text: what to count; an empty text has none.
            model: whose tokens, None for the client's (v1).

        Raises:
            QianfanError: as `chat`, in v1.
        """
        self._check_open()
        return operations.count_tokens(self._caller, self.dialect, text, model or self.model)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("this client was closed; make a new one")

    def _guard(self, safety: Safety | Literal[False] | None) -> Guard | None:
        rules = self._safety if safety is None else check_safety(safety)
        return None if rules is None else rules.guard(self._caller.secrets)

    def _prepare(
        self,
        prompt: Prompt,
        model: str | None,
        system: str | None,
        params: Mapping[str, Any],
        *,
        stream: bool,
        images: Sequence[ImageSource] = (),
    ) -> Call:
        self._check_open()
        if images and self.dialect == "v1":
            return image2text_call(
                prompt, images, model=model or self.model, system=system, params=params, stream=stream
            )
        if images:
            prompt = with_images(self.dialect, prompt, images)
        if model is not None and self.dialect == "text_generation":
            logger.warning("text_generation has no choice of model: model=%r is not sent", model)
        return chat_call(self.dialect, prompt, model=model or self.model, system=system, params=params, stream=stream)

"""What was asked, as matchers, predicates, templates and callables see it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from mock_server.matching.calling import call
from qfkit.protocol.messages import Json, content_text

if TYPE_CHECKING:
    from mock_server.asking import Asked
    from qfkit.protocol.dialects import Route
    from qfkit.protocol.http import HeaderItems, HttpRequest
    from qfkit.protocol.models import Model

#: Where the OpenAI SDKs say how often they have tried before: 0 with the first attempt.
_RETRY_COUNT = "x-stainless-retry-count"


class Question:
    """One request that was let in and found valid. Read-only; what costs time to find out is found out when asked for.

    Args:
        request: as it arrived.
        route: what its path means.
        asked: its body, read.
        account: the name of the account whose request it is.
        number: nth request of this account that reached the scenario, from 1.
        attempts: says how often this account has asked this very thing, this time included.
        state: the named state that the account's scenario was in when the request came.
        seed: of the mock's settings.
        time: when it arrived, Unix seconds on the server's clock.
    """

    __slots__ = (
        "_asked",
        "_attempt",
        "_attempts",
        "_once",
        "_random",
        "_request",
        "_route",
        "account",
        "number",
        "seed",
        "state",
        "time",
    )

    def __init__(
        self,
        request: HttpRequest,
        route: Route,
        asked: Asked,
        account: str,
        *,
        number: int = 1,
        attempts: Callable[[], int] | None = None,
        state: str = "start",
        seed: int = 0,
        time: float = 0.0,
    ) -> None:
        self._request = request
        self._route = route
        self._asked = asked
        self._attempts = attempts
        self._attempt: int | None = None
        self._random: Random | None = None
        self._once: dict[int, Any] = {}
        self.account = account
        self.number = number
        self.state = state
        self.seed = seed
        self.time = time

    def __repr__(self) -> str:
        return f"<question #{self.number} of {self.account}: {self.dialect} {self.operation} {self.text!r:.60}>"

    @property
    def dialect(self) -> str:
        """``text_generation``, ``v1`` or ``v2``."""
        return self._route.dialect

    @property
    def operation(self) -> str:
        """``chat``, ``completions``, ``embeddings``, ``rerank``, ``images`` and so on."""
        return self._route.operation

    @property
    def endpoint(self) -> str | None:
        """The v1 path after its prefix, such as ``/chat/completions_pro``; None in the other dialects."""
        return self._route.endpoint

    @property
    def path(self) -> str:
        """The path of the request, without its query."""
        return self._request.path

    @property
    def model(self) -> str | None:
        """The model's name as the request has it, v1: as its endpoint has it; None where no model is named."""
        return self._asked.model_name

    @property
    def known_model(self) -> Model | None:
        """The model's row in the table, None where it has none."""
        return self._asked.model

    @property
    def stream(self) -> bool:
        """The answer is asked for as a stream."""
        return self._asked.streamed

    @property
    def json(self) -> Json:
        """The body. Shared by all requests with the same bytes: do not change it."""
        return self._asked.body

    @property
    def messages(self) -> list[Json]:
        """The messages, as sent; empty where the operation has none."""
        return self._asked.body.get("messages") or []

    @property
    def text(self) -> str:
        """What the user asked last: the last message of role ``user``, a prompt, a query, or what is to be embedded."""
        return self._asked.prompt or ("" if self._asked.texts else "\n".join(self.texts))

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each message; where there are none, of the prompt, query or inputs."""
        asked = self._asked
        if asked.texts or asked.prompt:
            return asked.texts or (asked.prompt,)
        given = asked.body.get("input")
        return tuple(each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the functions that the model may call: v1 ``functions``, v2 ``tools``."""
        body = self._asked.body
        given = [*(body.get("functions") or ()), *(tool.get("function") or {} for tool in body.get("tools") or ())]
        return tuple(str(each["name"]) for each in given if "name" in each)

    @property
    def headers(self) -> HeaderItems:
        """Header names and values in the order they came, secrets included."""
        return self._request.headers

    def header(self, name: str, default: str | None = None) -> str | None:
        """First value of header ``name`` (any case), or ``default``."""
        return self._request.header(name, default)

    def texts_of(self, role: str | None, position: int | None) -> tuple[str, ...]:
        """Texts of the messages of ``role`` and at ``position`` (-1 is the last); None stands for any.

        The ``system`` member of v1 counts as a message of role ``system`` that has no position.
        """
        messages = self.messages
        if position is not None:
            if not -len(messages) <= position < len(messages):
                return ()
            messages = [messages[position]]
        texts = [content_text(each.get("content")) for each in messages if role is None or each.get("role") == role]
        system = self._asked.body.get("system")
        if role == "system" and position is None and isinstance(system, str):
            texts.insert(0, system)
        return tuple(texts)

    def once(self, function: Callable[[Question], Any]) -> Any:
        """What ``function`` makes of this question; it is called the first time only.

        Raises:
            CallableFailed: it raised.
        """
        key = id(function)
        if key not in self._once:
            self._once[key] = call(function, self)
        return self._once[key]

    @property
    def attempt(self) -> int:
        """Nth time this account asks this very thing, from 1.

        One more than ``x-stainless-retry-count`` where the client sends that, else how often an equal body came to this
        path.
        """
        if self._attempt is None:
            said = self.header(_RETRY_COUNT)
            if said is not None and said.isascii() and said.isdigit() and len(said) < 10:
                self._attempt = int(said) + 1
            else:
                self._attempt = self._attempts() if self._attempts is not None else 1
        return self._attempt

    def count_attempt(self) -> None:
        """Count it now, whether or not anybody asks for `attempt` later."""
        self._attempt = self.attempt

    @property
    def random(self) -> Random:
        """Random numbers that follow from the seed and the request: the same for the same."""
        if self._random is None:
            self._random = Random(f"{self.seed}\0{self._request.path}\0{self._request.body!r}")
        return self._random

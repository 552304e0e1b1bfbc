"""What a load test sends, and where: validated values, without Locust, network or clock."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from qfkit.protocol.dialects import InferenceDialect

Scenario: TypeAlias = Literal["qps", "stream"]

#: Sent when nobody says what: short questions, half of them Chinese.
DEFAULT_PROMPTS = (
    "用一句话介绍杭州。",
    "What is the capital of France?",
    "写一首关于春天的短诗。",
    "Explain in two sentences why the sky is blue.",
    "北京到上海坐高铁大约要多久?",
    "List three uses of a paper clip.",
)

#: Seconds that calls under way get to end when the run time is over.
GRACE = 30.0

_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


class PlanError(ValueError):
    """A load test that cannot be run as asked; the message says why, and what to change."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each user sends. Keys are not part of it: they are read from the environment.

    Attributes:
        host: base URL of the service.
        dialect: API family.
        model: None for the client's default; text_generation has no choice of model.
        prompt: the one text to send.
        prompts: a UTF-8 file of them, one a line. With neither, `DEFAULT_PROMPTS`.
        seed: of each user's choice among the prompts; the same seed asks the same things in the same order.
        attempts: HTTP requests of one call at most. The default never retries: a retry adds load that nobody planned,
            and hides the failure that a load test is there to count.
        live: hosts other than this machine are meant; demands a budget.
        max_requests: the budget: no more HTTP requests than this are sent, those for tokens included.
    """

    host: str
    dialect: InferenceDialect = "text_generation"
    model: str | None = None
    prompt: str | None = None
    prompts: str | None = None
    seed: int = 0
    attempts: Annotated[int, msgspec.Meta(ge=1)] = 1
    live: bool = False
    max_requests: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def check(self) -> None:
        """Whether this may be sent at all.

        Raises:
            PlanError: the host is not this machine and nobody said `live`, or said it without a budget.
        """
        hostname = hostname_of(self.host)
        if self.live and self.max_requests is None:
            raise PlanError(
                "--live sends to a service where requests may cost money: say how many at most with --max-requests N"
            )
        if not self.live and not is_loopback(hostname):
            raise PlanError(
                f"{hostname} is not this machine, and load on a real service costs money: start a mock with "
                "'qfkit mock' and use its address, or say --live --max-requests N if you mean it"
            )

    def texts(self) -> tuple[str, ...]:
        """The prompts to choose from, never empty.

        Raises:
            PlanError: the file cannot be read or holds none.
        """
        if self.prompt is not None:
            if not self.prompt.strip():
                raise PlanError("--prompt is empty: give a text, or leave it out for the built-in prompts")
            return (self.prompt,)
        if self.prompts is None:
            return DEFAULT_PROMPTS
        try:
            lines = Path(self.prompts).read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise PlanError(f"{self.prompts} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
        except OSError as error:
            raise PlanError(f"{self.prompts} cannot be read: {error.strerror or error}") from error
        texts = tuple(line.strip() for line in lines if line.strip())
        if not texts:
            raise PlanError(f"{self.prompts} holds no prompt: write one a line")
        return texts


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of one scenario by closed-loop users: each sends its next call when the last one has ended.

    Attributes:
        scenario: ``qps`` asks for whole answers, ``stream`` for streams.
        traffic: what is sent.
        users: how many at once.
        spawn_rate: users started a second.
        run_time: seconds after which no call is begun.
        grace: seconds that calls under way then get to end, before they are cut off.
        as_json: print the report as JSON.
        allow_failures: failed calls do not make the exit code 1.
    """

    scenario: Scenario
    traffic: Traffic
    users: Annotated[int, msgspec.Meta(ge=1)] = 10
    spawn_rate: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    run_time: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    grace: Annotated[float, msgspec.Meta(gt=0)] = GRACE
    as_json: bool = False
    allow_failures: bool = False


def seconds_of(text: str) -> float:
    """A time span such as ``10s``, ``1m30s``, ``2h`` or ``90`` in seconds.

    Raises:
        PlanError: it is none, or zero.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None or not text.strip():
        raise PlanError(f"{text!r} is no time span: write it as 10s, 1m30s or 2h")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        raise PlanError(f"{text!r} is no time at all: give 1s or more")
    return total


def hostname_of(url: str) -> str:
    """The host of a base URL.

    Raises:
        PlanError: it is not an http(s) URL with a host.
    """
    try:
        parts = urlsplit(url)
        hostname, scheme, _ = parts.hostname, parts.scheme, parts.port  # the port is read because reading checks it
    except ValueError as error:
        raise PlanError(f"--host {url!r} is no URL: {error}") from error
    if scheme not in {"http", "https"} or not hostname:
        raise PlanError(f"--host {url!r} is no base URL: write it with its scheme, such as http://127.0.0.1:8866")
    return hostname


def is_loopback(hostname: str) -> bool:
    """Whether a host is this machine: ``localhost``, or an address of the loopback interface."""
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname.lower() == "localhost"

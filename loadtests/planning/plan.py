"""What a load test sends, and where: validated values, without Locust, network or clock."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast, get_args
from urllib.parse import urlsplit

import msgspec

from loadtests.judging.slo import Slo, parse_all
from loadtests.planning.budget import Budget
from loadtests.planning.climb import Climb
from loadtests.planning.play import PLAYS, Play
from loadtests.planning.spelling import PlanError, seconds_of, weights
from qfkit.protocol.dialects import INFERENCE_DIALECTS, InferenceDialect

#: What ``qfkit load`` can run, and what it is.
SCENARIOS = {
    "qps": "Whole answers: calls a second, latency.",
    "stream": "Streams: time to the first content (TTFT), gaps between tokens (ITL).",
    "mixed": "Whole answers, streams, tools and embeddings by weight, in several dialects and lengths.",
    "tools": "Questions with tools to call: the model's call, and the answer made with its result.",
    "embed": "Embeddings: texts turned into vectors (v1, v2).",
    "ceiling": "The highest rate that keeps the SLOs, and what limits it: runs of --run-time, one after the other.",
    "soak": "Hours: does memory grow, does anything drift?",
    "replay": "Calls at the moments that a file names: --trace FILE.",
    "backoff": "A client against a quota on a mock: what it offers, what is admitted, what its retries cost.",
    "outage": "A client through an outage of a mock: the storm, the herd, the way back.",
}

Arrivals: TypeAlias = Literal["closed", "constant", "poisson", "gamma", "ramp", "trace"]
Kind: TypeAlias = Literal["chat", "stream", "tools", "embed"]

#: What the scenario ``mixed`` sends unless it is told.
DEFAULT_MIX = "stream=7,chat=2,tools=1"

ONE_PROCESS = "a budget (--max-requests, --max-tokens, --max-cost, --max-qps) is kept by one process"

#: Seconds that calls under way get to end when the run time is over.
GRACE = 30.0


class Traffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each user sends. Keys are not part of it: they are read from the environment.

    Attributes:
        host: base URL of the service.
        dialect: API family.
        dialects: several, by weight, such as ``v1=1,v2=3``.
        model: None for the client's default; text_generation has no choice of model.
        prompt: the one text to send.
        prompts: a UTF-8 file of them, one a line, or JSON lines.
        language: of the built-in prompts.
        lengths: of the built-in prompts, by weight.
        prompt_tokens: make up prompts of about so many tokens, ``200`` or ``100-500``.
        mix: kinds of calls, by weight.
        seed: of each user's choices, and of the moments of arrivals; the same seed does the same again.
        attempts: HTTP requests of one call at most. The default never retries: a retry adds load that nobody planned,
            and hides the failure that a load test is there to count.
        live: hosts other than this machine are meant; demands a budget.
        max_requests: the budget, like the four below it; see `loadtests.planning.budget.Budget`. No more HTTP requests
            than this are sent, those for tokens included.
        max_tokens: tokens read and written.
        max_cost: yuan.
        price: yuan for a million tokens of prompt and of output.
        max_qps: requests a second.
    """

    host: str
    dialect: InferenceDialect = "text_generation"
    dialects: str | None = None
    model: str | None = None
    prompt: str | None = None
    prompts: str | None = None
    language: Literal["zh", "en", "both"] = "both"
    lengths: str | None = None
    prompt_tokens: str | None = None
    mix: str | None = None
    seed: int = 0
    attempts: Annotated[int, msgspec.Meta(ge=1)] = 1
    live: bool = False
    max_requests: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_cost: Annotated[float, msgspec.Meta(gt=0)] | None = None
    price: str | None = None
    max_qps: Annotated[float, msgspec.Meta(gt=0)] | None = None

    @property
    def budget(self) -> Budget:
        """What may be spent."""
        return Budget(**{name: getattr(self, name) for name in Budget.__struct_fields__})

    def check(self) -> None:
        """Whether this may be sent at all.

        Raises:
            PlanError: the host is not this machine and nobody said `live`, or said it without a budget.
        """
        hostname = hostname_of(self.host)
        self.budget.check(live=self.live, rate=None, model=self.model)
        if not self.live and not is_loopback(hostname):
            raise PlanError(
                f"{hostname} is not this machine, and load on a real service costs money: start a mock with "
                "'qfkit mock' and use its address, or say --live --max-requests N if you mean it"
            )

    @property
    def every_dialect(self) -> dict[InferenceDialect, float]:
        """The API families and their weights.

        Raises:
            PlanError: ``dialects`` names one that there is none of, or no weights.
        """
        if self.dialects is None:
            return {self.dialect: 1.0}
        return cast("dict[InferenceDialect, float]", weights("--dialects", self.dialects, INFERENCE_DIALECTS))

    @property
    def kinds(self) -> dict[Kind, float]:
        """The kinds of calls of the scenario ``mixed``, and their weights.

        Raises:
            PlanError: ``mix`` cannot be read.
        """
        return cast("dict[Kind, float]", weights("--mix", self.mix or DEFAULT_MIX, get_args(Kind)))


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When calls are sent.

    Attributes:
        arrivals: ``closed``: each user sends its next call when the last one has ended. The others are open: calls are
            sent at moments of their own, whether or not answers come.
        rate: calls a second of all processes together; where ``ramp`` begins.
        to_rate: where ``ramp`` ends.
        burstiness: shape of the ``gamma`` distribution of the gaps. Their variation (standard deviation by mean) is
            ``shape ** -0.5``.
        trace: file of moments.
        max_in_flight: open calls at once, of all processes together. One more is not sent, and the run is not to be
            trusted.
    """

    arrivals: Arrivals = "closed"
    rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    to_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    burstiness: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    trace: str | None = None
    max_in_flight: Annotated[int, msgspec.Meta(ge=1)] = 1000

    @property
    def open(self) -> bool:
        """Calls do not wait for answers."""
        return self.arrivals != "closed"

    def check(self) -> None:
        """Whether all is there that this model of load needs.

        Raises:
            PlanError: something is missing, or would be ignored.
        """
        needs = _NEEDS[self.arrivals]
        for name in ("rate", "to_rate", "trace"):
            flag, given = f"--{name.replace('_', '-')}", getattr(self, name) is not None
            if name in needs and not given:
                raise PlanError(f"--arrivals {self.arrivals} needs {flag}")
            if given and name not in needs:
                raise PlanError(f"--arrivals {self.arrivals} knows no {flag}: leave it out, or choose other arrivals")


#: Arrivals -> the options that they need.
_NEEDS: dict[Arrivals, tuple[str, ...]] = {
    "closed": (),
    "constant": ("rate",),
    "poisson": ("rate",),
    "gamma": ("rate",),
    "ramp": ("rate", "to_rate"),
    "trace": ("trace",),
}


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of one scenario.

    Attributes:
        scenario: a name in `SCENARIOS`.
        traffic: what is sent.
        load: when.
        climb: in `ceiling`, how it is looked for.
        play: in `backoff` and `outage`, what is played and with which client.
        users: how many at once, in a closed model.
        spawn_rate: users started a second.
        run_time: seconds after which no call is begun.
        warmup: seconds at the beginning whose calls are in no figure; part of ``run_time``.
        workers: processes that make the load.
        grace: seconds that calls under way then get to end, before they are cut off.
        calibrate: measure this tool's own error first, and while it runs. Needs a mock.
        reconcile: hold the counts against those of the mock.
        as_json: print the report as JSON.
        report_json: file to write the report to, too.
        html_report: file for the report as a page.
        samples: file for the raw samples, as JSON lines.
        slo: what is asked of the run; see `loadtests.judging.slo`.
        allow_failures: failed calls do not make the exit code 1.
    """

    scenario: str
    traffic: Traffic
    load: Load = Load()
    play: Play = Play()
    climb: Climb = Climb()
    users: Annotated[int, msgspec.Meta(ge=1)] = 10
    spawn_rate: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    run_time: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    warmup: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    workers: Annotated[int, msgspec.Meta(ge=1)] = 1
    grace: Annotated[float, msgspec.Meta(gt=0)] = GRACE
    calibrate: bool = True
    reconcile: bool = True
    as_json: bool = False
    report_json: str | None = None
    html_report: str | None = None
    samples: str | None = None
    slo: tuple[str, ...] = ()
    allow_failures: bool = False

    @property
    def slos(self) -> tuple[Slo, ...]:
        """The objectives.

        Raises:
            PlanError: one cannot be read.
        """
        return _slos(self.slo)

    def check(self) -> None:
        """Whether this can be run at all.

        Raises:
            PlanError: it cannot; the message says why.
        """
        self.traffic.check()
        self.load.check()
        _ = self.slos
        if self.warmup >= self.run_time:
            raise PlanError("--warmup takes the whole of --run-time: nothing would be measured")
        rate = max(self.load.rate or 0.0, self.load.to_rate or 0.0) or None
        self.traffic.budget.check(live=self.traffic.live, rate=rate, model=self.traffic.model)
        if self.workers > 1 and self.traffic.budget.kept_by_one:
            raise PlanError(f"{ONE_PROCESS}: leave out --workers")


def plan_of(values: Mapping[str, Any], *, scenario: str, host: str | None) -> Plan:
    """The plan that options ask for, be they ``qfkit load``'s or Locust's.

    Args:
        values: by the names of `loadtests.planning.options`; what is missing, None or empty stands at its default.
        scenario: a name in `SCENARIOS`.
        host: base URL of the service.

    Raises:
        PlanError: no host is given, or a value makes no sense.
    """
    if not host:
        raise PlanError("no host: give --host http://127.0.0.1:8866, or wherever 'qfkit mock' listens")
    if values.get("prompt") and values.get("prompts"):
        raise PlanError("--prompt and --prompts exclude each other: give one text, or a file of them")
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    given |= {name: seconds_of(str(given[name])) for name in ("run_time",) if name in given}
    if "warmup" in given:
        given["warmup"] = seconds_of(str(given["warmup"]), zero=True)
    if "arrivals" not in given:
        given["arrivals"] = "trace" if "trace" in given else "poisson" if "rate" in given else "closed"
    for name, fits in _FITS.items():
        if name in given and given["arrivals"] not in fits:
            raise PlanError(
                f"--{name.replace('_', '-')} goes with --arrivals {', '.join(fits)}, and these are "
                f"{given['arrivals']}: leave it out, or choose other arrivals"
            )
    if scenario == "replay" and given["arrivals"] != "trace":
        raise PlanError("replay sends calls at the moments that a file names: give --trace FILE")
    if scenario == "ceiling":
        given["rate"] = given.get("rate") or Climb().search(None).next()
        given["arrivals"] = "poisson" if given["arrivals"] == "closed" else given["arrivals"]
        if given["arrivals"] not in {"poisson", "constant", "gamma"}:
            raise PlanError("ceiling tries rates: --arrivals is constant, poisson or gamma")
    if scenario in PLAYS:
        given["no_calibrate"] = True  # their figures are the mock's own
    if scenario in PLAYS or scenario == "ceiling":
        given["allow_failures"] = True  # they are what is looked at, or what SLOs judge
    for name in ("calibrate", "reconcile"):
        given[name] = not given.get(f"no_{name}", False)
    given.setdefault("dialect", _DIALECT.get(scenario) or _DIALECT.get(given.get("client", ""), "text_generation"))
    given["slo"] = [slo.text for slo in _slos(given.get("slo", ()), given.get("slo_file"))]
    given |= {"host": host.rstrip("/"), "scenario": scenario}
    given.setdefault("spawn_rate", float(min(int(given.get("users", 10)), 100)))
    parts = {
        "traffic": _pick(Traffic, given),
        "load": _pick(Load, given),
        "play": _pick(Play, given),
        "climb": _pick(Climb, given),
    }
    plan = _pick(Plan, given | parts)
    plan.check()
    return plan


#: Option -> the arrivals that know it.
_FITS: dict[str, tuple[Arrivals, ...]] = {
    "users": ("closed",),
    "spawn_rate": ("closed",),
    "burstiness": ("gamma",),
    "max_in_flight": ("constant", "poisson", "gamma", "ramp", "trace"),
}


def _slos(texts: Sequence[str], file: str | None = None) -> tuple[Slo, ...]:
    try:
        return parse_all(texts, file)
    except ValueError as error:
        raise PlanError(str(error)) from error


#: Scenarios and clients that text_generation is nothing for -> the dialect that they have when nobody says.
_DIALECT: dict[str, InferenceDialect] = {"mixed": "v2", "tools": "v2", "embed": "v2", "sdk": "v1", "openai": "v2"}

_T = TypeVar("_T", bound=msgspec.Struct)


def _pick(struct: type[_T], values: Mapping[str, Any]) -> _T:
    """A struct of those of ``values`` that are its members.

    Raises:
        PlanError: one has the wrong type, or is out of bounds.
    """
    mine = {name: values[name] for name in struct.__struct_fields__ if name in values}
    try:
        return msgspec.convert(msgspec.to_builtins(mine), struct, strict=False)
    except msgspec.ValidationError as error:
        raise PlanError(f"an option makes no sense: {error}") from error


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

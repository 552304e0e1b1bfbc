"""Every option of a load test, once. Pure.

``qfkit load`` makes click options of this table, Locust's command line and web page make theirs of it, and
`loadtests.planning.plan` takes the values from either.

To add an option, add a row to a group (or a group to `GROUPS`) and a member of the same name to the struct of
`loadtests.planning.plan` that holds its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from loadtests.planning.play import PLAYS
from qfkit.protocol.dialects import INFERENCE_DIALECTS


class Option(NamedTuple):
    """One option.

    Attributes:
        name: of the member that holds its value; the flag is the same with dashes.
        help: one line.
        kind: `str`, `int`, `float`, or `bool` for a flag.
        default: None, 0, False or "" when it is left out and nothing stands for it.
        choices: the values that there are.
        least: the smallest value.
        above: a value that it must exceed.
        metavar: what stands for its value in the help.
        shown: how the help tells a default that depends on others.
        flag: another spelling than the name's.
        where: ``locust`` has options of its own for some things, such as the number of users.
        web: Locust's web page may set it; False for what costs money or writes files.
        many: it may be given several times.
        only: the scenarios that know it; empty for all.
    """

    name: str
    help: str
    kind: type = str
    default: Any = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    metavar: str | None = None
    shown: str | None = None
    flag: str | None = None
    where: Literal["both", "qfkit", "locust"] = "both"
    web: bool = True
    many: bool = False
    only: tuple[str, ...] = ()

    @property
    def flags(self) -> str:
        """As it is typed."""
        return self.flag or f"--{self.name.replace('_', '-')}"


LOAD = (
    Option("host", "Base URL of the service, such as a mock's.", metavar="URL", where="qfkit"),
    Option(
        "users",
        "Users at once; each sends its next call when the last one has ended.",
        int,
        least=1,
        shown="10",
        where="qfkit",
    ),
    Option("spawn_rate", "Users started a second.", float, above=0, shown="all, up to 100", where="qfkit"),
    Option("run_time", "How long calls are begun: 10s, 1m30s or 2h.", default="10s", metavar="TIME", where="qfkit"),
    Option("workers", "Processes that make the load; 1 for this one.", int, 1, least=1, where="qfkit"),
    Option("warmup", "Calls of the first so many seconds are in no figure.", default="0s", metavar="TIME"),
    Option(
        "arrivals",
        "Calls that do not wait for answers, at --rate: an open load. 'closed': users that do.",
        choices=("closed", "constant", "poisson", "gamma", "ramp", "trace"),
        shown="closed; poisson with --rate",
    ),
    Option("rate", "Calls a second, of all processes together.", float, above=0),
    Option("to_rate", "Where --arrivals ramp ends; it begins at --rate.", float, above=0),
    Option(
        "burstiness",
        "Shape of --arrivals gamma: 1 is poisson, below 1 comes in bursts, above 1 is steadier.",
        float,
        above=0,
        shown="0.5",
    ),
    Option("trace", "Moments of --arrivals trace: seconds, one a line, or JSON lines.", metavar="FILE"),
    Option(
        "max_in_flight",
        "Open calls at once; reaching it spoils the measurement (exit code 3).",
        int,
        least=1,
        shown="1000",
    ),
)

TRAFFIC = (
    Option(
        "dialect",
        "API family of Qianfan.",
        choices=INFERENCE_DIALECTS,
        shown="text_generation; v2 for mixed, tools and embed",
    ),
    Option("model", "Model to ask, for v1 and v2.", shown="the client's"),
    Option("prompt", "The one text to send."),
    Option("prompts", "File of texts, in UTF-8: one a line, or JSON lines (.jsonl).", metavar="FILE"),
    Option("language", "Of the built-in prompts.", default="both", choices=("zh", "en", "both")),
    Option(
        "lengths",
        "Built-in prompts by weight: short, medium, long, such as short=8,long=2.",
        metavar="LENGTH[=WEIGHT],...",
        shown="short",
    ),
    Option("prompt_tokens", "Make up prompts of about N tokens, or of N-M.", metavar="N[-M]"),
    Option(
        "mix",
        "Calls by weight: chat, stream, tools, embed.",
        metavar="KIND[=WEIGHT],...",
        shown="stream=7,chat=2,tools=1; chat alone where it is not mixed",
        only=("mixed", "ceiling", "soak", "replay"),
    ),
    Option(
        "dialects",
        "Instead of --dialect: several, by weight, such as v1=1,v2=3.",
        metavar="DIALECT[=WEIGHT],...",
        only=("mixed",),
    ),
    Option("seed", "The same seed asks the same things in the same order, at the same moments.", int, 0),
    Option(
        "attempts",
        "Requests of one call at most; 1: no retries.",
        int,
        least=1,
        shown="1; in backoff and outage the client's own",
    ),
)

CLIENT = (
    Option(
        "client",
        "Who makes the calls: qfkit, sdk (the official one), openai, or the path of a factory.",
        default="qfkit",
        metavar="qfkit|sdk|openai|PATH.TO:FACTORY",
        only=PLAYS,
    ),
    Option("client_timeout", "Seconds that it waits for an answer.", float, above=0, shown="its own", only=PLAYS),
    Option(
        "schedule",
        "What it says of its waits, such as openai or aws-full:base=0.5,cap=8; they are held against that.",
        metavar="NAME[:OPTION=VALUE,...]",
        only=PLAYS,
    ),
    Option(
        "limits",
        "Where the verdict draws its lines; a busy machine needs tolerance=0.3 (seconds).",
        metavar="LIMIT=NUMBER,...",
        only=PLAYS,
    ),
    Option(
        "quota", "What the mock lets it ask.", default="qps=5", metavar="LIMIT=NUMBER,...", only=("backoff",), web=False
    ),
    Option(
        "fault",
        "What the outage is: error, a code of the service, reset, hang, close, proxy-error.",
        default="error",
        metavar="FAULT",
        only=("outage",),
    ),
    Option("fault_at", "When it begins.", metavar="TIME", shown="after 30 % of the run", only=("outage",)),
    Option("fault_for", "How long it lasts.", metavar="TIME", shown="20 % of the run", only=("outage",)),
)

CLIMB = (
    Option("most", "The highest rate that is tried, calls a second.", float, 1000.0, above=0, only=("ceiling",)),
    Option("within", "How near the answer has to be, as a share of it.", float, 0.1, above=0, only=("ceiling",)),
    Option("steps", "Rates to try instead of a search.", metavar="RATE,RATE,...", only=("ceiling",)),
)

BUDGET = (
    Option("max_requests", "Budget: stop when this many HTTP requests were sent.", int, least=1, web=False),
    Option("max_tokens", "Budget: stop before more tokens than this were read and written.", int, least=1, web=False),
    Option("max_cost", "Budget in yuan: stop before more was spent.", float, above=0, metavar="YUAN", web=False),
    Option(
        "price",
        "Yuan for a million tokens of prompt and of output, such as 4,16.",
        metavar="YUAN,YUAN",
        shown="the table of loadtests.planning.budget",
        web=False,
    ),
    Option(
        "max_qps",
        "Requests a second at most.",
        float,
        above=0,
        shown="with --live the documented 100 of an application",
        web=False,
    ),
    Option("live", "Allow a host that is not this machine; demands a budget.", bool, False, web=False),
)

TRUST = (
    Option(
        "no_calibrate",
        "Do not replay a known schedule to measure this tool's own error (needs a mock).",
        bool,
        False,
        web=False,
    ),
    Option("no_reconcile", "Do not hold the counts against those of the mock.", bool, False, web=False),
    Option("allow_failures", "Failed calls do not make the exit code 1.", bool, False, web=False),
)

AIMS = (
    Option(
        "slo",
        "An objective, in quotes: 'ttft.p95<500ms', 'goodput>0.95*offered', 'errors<1%', 'verdict=pass'. Can be given "
        "several times; one that is missed makes the exit code 1.",
        many=True,
        metavar="SLO",
        web=False,
    ),
    Option("slo_file", "YAML file with a list of them.", metavar="FILE", web=False),
)

OUTPUT = (
    Option("as_json", "Print the report as JSON.", bool, False, flag="--json", where="qfkit"),
    Option("report_json", "Write the report to this file, too, as JSON.", metavar="FILE", web=False),
    Option("html_report", "Write it to this file as a page with charts.", metavar="FILE", web=False),
    Option("samples", "Write every call to this file while the run goes on, as JSON lines.", metavar="FILE", web=False),
)

#: In the order in which the help lists them.
GROUPS: tuple[tuple[Option, ...], ...] = (LOAD, TRAFFIC, CLIENT, CLIMB, BUDGET, TRUST, AIMS, OUTPUT)


def options(where: Literal["qfkit", "locust"], scenario: str | None = None) -> Iterator[Option]:
    """The options of one of the two command lines, in order.

    Args:
        where: whose.
        scenario: leave out those that it does not know; None for all.
    """
    for group in GROUPS:
        for option in group:
            known = scenario is None or not option.only or scenario in option.only
            if option.where in {"both", where} and known:
                yield option

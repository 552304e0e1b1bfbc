"""Writes the documents that are made from tables: ``python -m docs.generate``, with ``--check`` to only compare."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mock_server.config.checking import about, says
from mock_server.config.problems import example_of
from mock_server.config.schema import schema_text
from mock_server.faults.options import rows
from mock_server.matching import Matcher
from mock_server.settings import AccountConfig, Keys, QuotaConfig, Settings
from qfkit.protocol.errors import DIALECTS, ERRORS, KINDS, RANGES, RETRIERS, Dialect, ErrorSpec
from qfkit.protocol.errors.kin import STATUSES
from qfkit.protocol.models import MODELS, PARAMETER_SETS, Model
from qfkit.testing.conformance import markdown

DOCS = Path(__file__).resolve().parent
#: What the clients of docs/conformance.md did; `keep_conformance` writes it.
RESULTS = DOCS / "conformance.json"
NOTICE = (
    "<!-- Made by `python -m docs.generate` from the tables in qfkit/protocol. Change those, then run `make docs`. -->"
)

_ERRORS = """\
# Errors of Qianfan

What each error means, what to do about it, and whether to send the request again. `qfkit errors CODE` says the same on
the command line.

**Retry** is our judgement: *yes* means that the same request may well succeed after a wait. **Retried by** is whose
default retry set holds it; [how often](#who-retries-what) is another matter. *(guess)* marks what no source gives.
Evidence is *doc* (Baidu's documents), *sdk* (official SDKs), *3rd-live* (a real answer that somebody published) or
*3rd* (third-party code)."""

_DIALECTS: dict[Dialect, str] = {
    "text_generation": """\
## text_generation

HMAC-signed. Real HTTP statuses; body `{"error_code", "error_msg"}`. Every code of v1 may appear here too, with the HTTP
status of its [kind](#kinds).""",
    "v1": """\
## v1 (wenxinworkshop)

**HTTP 200 even for errors**; body `{"error_code", "error_msg"}`, and `id` where the model service answered (336xxx).
The same JSON, not an event stream, answers a request with `stream: true`.""",
    "v2": """\
## v2 (OpenAI-compatible)

Real HTTP statuses; body `{"error": {"code", "message", "type"}, "id"}`. `code` is a string.""",
    "oauth": """\
## OAuth token service

`/oauth/2.0/token`; body `{"error_description", "error"}`.""",
    "iam": """\
## IAM and the common gateway

Body `{"code", "message", "requestId"}`, the same in the headers `X-Bce-Error-Code` and `X-Bce-Error-Message`; the body
may be empty.""",
}

_CONFIGURATION_NOTICE = (
    "<!-- Made by `python -m docs.generate` from mock_server/settings.py and mock_server/matching. Change those or the "
    "text in docs/generate.py, then run `make docs`. -->"
)

_CONFIGURATION = """\
# Configuration of the mock

One YAML file holds all: settings, accounts, quotas, rules, scripts. `qfkit mock --config mock.yaml` and
`MockServer(config="mock.yaml")` read it; options and keyword arguments win over it.

```yaml
# yaml-language-server: $schema=settings.schema.json
auth: strict
accounts:
  - name: shop
    secret_key: ${SHOP_SECRET_KEY}
    access_key: ${SHOP_ACCESS_KEY:-ALTAKexample}
    rules:
      - on: { contains: 天气 }
        script: [{ reply: 晴, times: forever }]
    script:
      - { fail: 18, times: 2 }
      - reply: 你好
```

`qfkit config example` prints a file with a comment on each key. Others: [basic](examples/config/basic.yaml),
[rules](examples/config/rules.yaml), [key rotation](examples/config/rotation.yaml);
[load_each.py](examples/config/load_each.py) runs them.

The first line lets an editor with a YAML language server complete keys and mark mistakes, by
[settings.schema.json](settings.schema.json). `qfkit config schema > settings.schema.json` puts it beside the file.

The file is YAML 1.2: `on` and `off` are texts, `true` and `false` the only truth values, a number has digits alone.
`${NAME}` in a text is the environment variable, which has to be there; `${NAME:-default}` has a default; `$${NAME}`
stays as it is. What comes from the environment is always a text, and no message shows it.

## Checking it

```console
$ qfkit config check mock.yaml
mock.yaml:1:1: 'seeed' is not a setting (at seeed); did you mean 'seed'? Example: seed: 7
mock.yaml:2:7: auth is one of 'strict', 'warn', 'off'; got 'of' (at auth); did you mean 'off'? Example: auth: warn
2 problems in mock.yaml
```

All mistakes are told, each with file, line, column and what would be right; the exit code is 1. A good file is summed
up. `--json` is for programs.

## While the mock runs

`qfkit mock --config mock.yaml --watch` uses the file again whenever it has changed; `server.reload()` does so in a
test. Journals and tokens stay. Accounts that are gone from the file go, new ones come, and of the others just what has
changed begins anew. A file that cannot be used changes nothing: the mistake is told, and the last good one stays.
`seed`, `journal` and `journal_bytes` need a new start."""

_RULES = """\
Under `rules`: `on` (what a request has to be, all of it; nothing is for every request), `priority` (a whole number, the
highest goes first, then the rule that stands first) and `script`. Under `on`:"""

_STEPS = """\
## Steps

Under `script`, one mapping each, told by the key it opens with: `reply`, `fail`, `stream`, `fault`, `loop` and the
others of [mock.md](mock.md#scripts). `times` (a whole number from 1, or `forever`) and `enter` (the state that the
account is in afterwards) may stand beside them; the options of streams and faults are in [faults.md](faults.md)."""

_CONFORMANCE_NOTICE = (
    "<!-- Made by `python -m docs.generate` from qfkit/testing/conformance, docs/conformance.json and the text in "
    "docs/generate.py. `make conformance` plays all suites and makes it anew. -->"
)

_CONFORMANCE = """\
# Conformance

Is a client of Qianfan sound? `qfkit.testing.conformance` plays it some 190 cases a dialect, on real sockets against
the mock: signatures, errors, backoff, `Retry-After` in every form, tokens, quotas, whole answers in odd bytes, and more
than eighty streams of torture. It says what was sent, what the client made of it, what a sound one does, and by which
source. Any client will do that Python can call: a library, or 200 lines of your own.

```python
from qfkit.testing.conformance import Conformance


class TestMine(Conformance):
    dialect = "v2"
    deviations = {"retry-after/day": "we wait for whatever we are told"}

    def make(self, env):  # a fresh account for each case; os.environ names it too
        return MyClient(env["OPENAI_BASE_URL"], env["OPENAI_API_KEY"])

    def call(self, prompt):
        return self.client.ask(prompt)

    def stream(self, prompt):
        yield from self.client.ask_stream(prompt)
```

or, for functions that read their address and key from the environment:

```python
TestMine = conformance(ask, ask_stream, dialect="v2", read_timeout=30)
```

`pytest` then runs one test a case: [examples/conformance/test_own_client.py](examples/conformance/test_own_client.py)
is a client of a hundred lines on requests that passes them all. All runs on [virtual time](pytest.md): a wait of a
minute takes a millisecond, and so does a time-out. A run of one dialect takes about two seconds.

**Required** are cases whose failure loses answers, money or secrets, by what Qianfan is known to do and what any
network does. **Recommended** ones are about what standards allow beside that (no comment has been seen in a stream of
Qianfan's, but a proxy may send one), and about manners. What a client need not do is said, not passed: the test is
skipped, and counted as n/a.

| say | of a client that |
|---|---|
| `streams = False` | has no streams |
| `retries = False` | tries nothing again by itself |
| `signs = True` | signs v1 with IAM keys (text_generation always does) |
| `tokens = True` | buys its bearer tokens for v2 with an IAM pair (v1 does without `signs`) |
| `framing = "lines"` | does not accept `text/event-stream` from text_generation, and reads a JSON object a line |
| `read_timeout = 60` | waits so many seconds for bytes; without it the cases with silences are left out |
| `errors = (MyError,)` | raises nothing but these; else anything goes that no Python program raises by accident |
| `level = "required"` | is not to be held to what is only recommended |
| `cases = [...]` | is to be played some cases alone, of `qfkit.testing.conformance.CASES` |

A **deviation** is a case that the client fails and is known to, with the reason; patterns such as `fields/*` will do.
It is expected to fail (xfail): once it passes, the test fails, and the entry goes.

At the end of the run stands a table for each class: area, cases, passed, failed, deviating, n/a. One case alone:
`pytest -k cuts/no-end-event`; an area: `pytest -k retry-after`. For programs, `--qianfan-conformance-json FILE` (ini:
`qianfan_conformance_json`) writes all of it: `suites`, each with `dialect`, `packages` and their versions, `counts` and
`cases`; of each case `name`, `level`, `result`, `reason` (of a deviation, or why it does not apply) and `complaints`
(what it did instead). `qfkit.testing.conformance.markdown` makes the tables below of such files.

An asynchronous client is played like any other:
[examples/conformance/test_async_client.py](examples/conformance/test_async_client.py). What the suite does not see:
clients whose sockets are not Python's (their waits are real, so that it takes as long); HTTP/2, proxies, TLS."""

_CONFORMANCE_RESULTS = """\
## Results

Clients as they are made by default, from the environment alone. *deviates* counts cases that fail, and are known to."""

_CONFORMANCE_CASES = """\
## Cases

Required ones are bold; *the text* is what most answers say. *Wire reference* is the collection of captures and sources
that the mock is built by; RFC, WHATWG and the documents named here are public."""

_MODELS = """\
# Models

v1 chooses a model by its path, v2 by its id. The first column is the id; rows marked v2 answer to it there. Names are
matched in any letter case. *(guess)* marks what no source gives.

Longer inputs are refused: 336007 or `characters_too_long`, 336103 or `tokens_too_long`. Limits hold for all messages
together (chat), for the prompt, or for each item (embeddings). Output is the range of `max_output_tokens` in v1 and of
`max_completion_tokens` in v2; a model with a path in v1 takes 1-12288 in v2."""


def errors_page() -> str:
    """``docs/errors.md``."""
    parts = [
        NOTICE,
        _ERRORS,
        *(_dialect_section(dialect) for dialect in DIALECTS),
        "## Codes of which nothing is known",
        "\n".join(f"- {known.note}." for known in RANGES),
        "## Who retries what",
        _table(("client", "what it does"), RETRIERS.items()),
        "## Kinds",
        "Kinds relate the dialects: a scripted failure keeps its kind when another dialect plays it.",
        _table(
            ("kind", "what happened", "what to do", "HTTP status", "retry"),
            (
                (f"`{name}`", kind.summary, kind.remedy, str(kind.status), _yes(kind.retryable))
                for name, kind in KINDS.items()
            ),
        ),
        "## Bare HTTP statuses",
        "What an answer without a known code is taken for. Others count as `bad_request` (4xx) or `internal` (5xx).",
        _table(
            ("status", "name", "kind", "retry"),
            (
                (str(status), phrase, f"`{kind}`", _yes(KINDS[kind].retryable))
                for status, (kind, phrase) in STATUSES.items()
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def models_page() -> str:
    """``docs/models.md``."""
    v1 = [model for model in MODELS if model.endpoint]
    v2_only = [model for model in MODELS if not model.endpoint]
    parts = [
        NOTICE,
        _MODELS,
        "## With a path in v1",
        _table(
            ("name", "other names", "path", "kind", "v2", "characters", "tokens", "items", "output", "dims", "fields"),
            (
                (
                    f"`{model.name}`{_guess(model, 'name')}",
                    ", ".join(alias for alias in model.aliases if alias != model.name) or "-",
                    "<br>".join(f"`{path}`" for path in (model.endpoint, *model.other_endpoints)),
                    model.kind,
                    _yes("v2" in model.dialects),
                    *_limits(model),
                    _parameters(model),
                )
                for model in v1
            ),
        ),
        "## In v2 only",
        _table(
            ("id", "kind", "characters", "tokens", "items", "output", "dims", "context"),
            (
                (
                    f"`{model.name}`",
                    model.kind,
                    *_limits(model),
                    _number(model.context_length) + _guess(model, "context_length"),
                )
                for model in v2_only
            ),
        ),
        "## Fields of v1 chat",
        "What each set accepts, as the official SDK lists it. Other fields are ignored *(guess)*.",
        _table(
            ("set", "fields"),
            ((name, " ".join(f"`{field}`" for field in sorted(fields))) for name, fields in PARAMETER_SETS.items()),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def configuration_page() -> str:
    """``docs/configuration.md``."""
    parts = [
        _CONFIGURATION_NOTICE,
        _CONFIGURATION,
        "## Settings",
        _settings_table(Settings),
        "## Accounts",
        "Under `accounts`, one mapping each.",
        _settings_table(AccountConfig, Keys),
        "Keys of an account, and of its `previous`:",
        _settings_table(Keys),
        "Limits of its `quota`, and of each of `quota.models`:",
        _settings_table(QuotaConfig),
        "## Rules",
        _RULES,
        _table(
            ("key", "is", "what it does"),
            (
                (f"`{name}`", says, doc)
                for name, says, _, doc in rows(Matcher)
                if name != "where"  # a function, which no file can hold
            ),
        ),
        _STEPS,
    ]
    return "\n\n".join(parts) + "\n"


def conformance_page() -> str:
    """``docs/conformance.md``."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    parts = [
        _CONFORMANCE_NOTICE,
        _CONFORMANCE,
        _CONFORMANCE_RESULTS,
        markdown.results_of(results),
        _CONFORMANCE_CASES,
        markdown.cases(),
    ]
    return "\n\n".join(parts) + "\n"


def keep_conformance(files: Sequence[str]) -> None:
    """Keep the results of these runs in ``docs/conformance.json``."""
    data = markdown.merged(json.loads(Path(name).read_text(encoding="utf-8")) for name in files)
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    RESULTS.write_text(text, encoding="utf-8", newline="\n")


#: File below docs/ -> what makes its content.
DOCUMENTS: dict[str, Callable[[], str]] = {
    "errors.md": errors_page,
    "models.md": models_page,
    "configuration.md": configuration_page,
    "conformance.md": conformance_page,
    "settings.schema.json": lambda: schema_text(Settings),
}


def stale(directory: Path = DOCS) -> list[Path]:
    """The generated files below ``directory`` that are missing or no longer what the tables say."""
    found = []
    for name, render in DOCUMENTS.items():
        path = directory / name
        if not path.is_file() or path.read_text(encoding="utf-8") != render():
            found.append(path)
    return found


def write(directory: Path) -> None:
    """Write every generated file below ``directory``."""
    for name, render in DOCUMENTS.items():
        (directory / name).write_text(render(), encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that are stale")
    parser.add_argument("--conformance", nargs="+", metavar="FILE", help="keep these results of conformance suites")
    given = parser.parse_args(arguments)
    if given.conformance:
        keep_conformance(given.conformance)
    if not given.check:
        write(DOCS)
        return 0
    for path in (outdated := stale(DOCS)):
        print(f"{path.relative_to(DOCS.parent)} is stale: run `make docs`", file=sys.stderr)
    return 1 if outdated else 0


def _settings_table(kind: type[msgspec.Struct], without: type[msgspec.Struct] | None = None) -> str:
    """The fields of a struct of settings, but for those of ``without``."""
    left_out = without.__struct_fields__ if without else ()
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in left_out]
    return _table(
        ("key", "is", "default", "what it does", "example"),
        (
            (
                f"`{field.name}`",
                says(note := about(field.type)),
                _default(field.default),
                note.description,
                f"`{example_of(field.name, note.example)}`",
            )
            for field in fields
        ),
    )


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return "all of them"
    return "-" if value is None or value is msgspec.NODEFAULT else f"`{value}`"


def _dialect_section(dialect: Dialect) -> str:
    rows = [
        (
            f"`{spec.code}`{_named(spec)}{_guess(spec, 'code')}",
            f"{spec.status}{_guess(spec, 'status')}",
            *([f"`{spec.type}`{_guess(spec, 'type')}"] if dialect == "v2" else []),
            "<br>".join([f"{_literal(spec.message)}{_guess(spec, 'message')}", *map(_literal, spec.other_messages)]),
            spec.meaning + _guess(spec, "meaning"),
            spec.remedy + _guess(spec, "remedy"),
            _yes(spec.retryable) + _guess(spec, "retryable"),
            ", ".join(spec.retried_by) or "-",
            spec.evidence,
        )
        for spec in ERRORS
        if spec.dialect == dialect
    ]
    kind_column = ("type",) if dialect == "v2" else ()
    head = ("code", "HTTP", *kind_column, "text", "meaning", "what to do", "retry", "retried by", "evidence")
    return f"{_DIALECTS[dialect]}\n\n{_table(head, rows)}"


def _named(spec: ErrorSpec) -> str:
    return f"<br>{spec.name}" if spec.name else ""


def _limits(model: Model) -> tuple[str, ...]:
    return (
        _number(model.max_chars) + _guess(model, "max_chars"),
        _number(model.max_tokens) + _guess(model, "max_tokens"),
        _number(model.max_items) + _guess(model, "max_items"),
        f"{model.max_output[0]}-{model.max_output[1]}" if model.kind == "chat" else "-",
        _number(model.dims) + _guess(model, "dims"),
    )


def _parameters(model: Model) -> str:
    if "params" in model.guess:
        return "not recorded"
    named = next((name for name, fields in PARAMETER_SETS.items() if fields == model.params), None)
    return named or " ".join(f"`{field}`" for field in sorted(model.params))


def _guess(row: ErrorSpec | Model, field: str) -> str:
    return " *(guess)*" if field in row.guess else ""


def _literal(text: str) -> str:
    return f"`{text}`"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

"""The client of the documentation with one thing wrong: each is caught by the cases that are about it.

The unspoilt one passes them all: `tests/test_examples.py` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOURCE = (Path(__file__).parents[2] / "docs/examples/conformance/test_own_client.py").read_text("utf-8")


class Mutant(NamedTuple):
    """What stands in the source, what is put there, and the cases that have to notice."""

    old: str
    new: str
    caught_by: tuple[str, ...]


MUTANTS = {
    "splitlines": Mutant(
        'yield line.decode("utf-8", "replace").removeprefix("\\ufeff")',
        'yield from line.decode("utf-8", "replace").removeprefix("\\ufeff").splitlines() or [""]',
        ("lines/separators-in-text",),
    ),
    "a space follows each colon": Mutant('value.removeprefix(" ")', "value[1:]", ("fields/no-space",)),
    "data lines stand alone": Mutant(
        'yield "\\n".join(found)', "yield from found", ("fields/two-data-lines", "fields/many-data-lines")
    ),
    "CR is no line end": Mutant(r"\r\n|\n|\r(?!\Z)", r"\r\n|\n", ("lines/cr", "lines/mixed")),
    "a byte order mark is text": Mutant(
        'removeprefix("\\ufeff")', 'removeprefix("")', ("fields/bom", "splits/inside-the-bom")
    ),
    "bytes are decoded piece by piece": Mutant(
        "rest + piece)",
        'rest + piece.decode("utf-8", "replace").encode())',
        ("splits/inside-characters", "splits/inside-emoji"),
    ),
    "broken bytes are dropped": Mutant(
        'decode("utf-8", "replace")', 'decode("utf-8", "ignore")', ("damage/bad-utf-8",)
    ),
    "the end of the body is the end of the answer": Mutant(
        "complete = False",
        "complete = True",
        ("cuts/no-end-event", "cuts/inside-an-event", "cuts/empty-body", "failures/web-page"),
    ),
    "it reads on behind [DONE]": Mutant(
        "                return\n            event",
        "                complete = True\n                continue\n            event",
        ("ends/events-behind-done", "ends/open-connection"),
    ),
    "errors in a stream are no errors": Mutant(' or event.get("error")', "", ("failures/middle-then-done",)),
    "what cannot be read is left out": Mutant(
        'raise AnswerFailed("an event cannot be read") from None',
        "return {}",
        ("damage/no-json", "damage/cut-json", "damage/single-quotes"),
    ),
    "it collects before it hands out": Mutant(
        "response.iter_content(None)", "[response.content]", ("content/at-once",)
    ),
    "it has no timeout": Mutant(
        "timeout=TIMEOUT,\n            )",
        "timeout=None,\n            )",
        ("stalls/before-the-first", "stalls/after-the-first"),
    ),
    "its timeout is for all of an answer": Mutant(
        "        for piece in response.iter_content(None):\n",
        "        began = time.monotonic()\n        for piece in response.iter_content(None):\n"
        "            if time.monotonic() - began > TIMEOUT:\n                raise AnswerFailed('too slow')\n",
        ("stalls/comments",),
    ),
    "any errors": Mutant(
        "except (ValueError, LookupError, TypeError):",
        "except ValueError:",
        ("answers/empty-object", "answers/list", "answers/null"),
    ),
    "it tries nothing again": Mutant(
        "ATTEMPTS, PATIENCE, TIMEOUT = 3,",
        "ATTEMPTS, PATIENCE, TIMEOUT = 1,",
        ("backoff/recovers", "backoff/gives-up", "retry-after/seconds", "errors/reset-once"),
    ),
    "it tries for ever": Mutant(
        "PATIENCE, TIMEOUT = 3,",
        "PATIENCE, TIMEOUT = 30,",
        ("backoff/gives-up", "backoff/one-loop", "errors/bad-gateway"),
    ),
    "it does not wait": Mutant(
        "time.sleep(asked or random.uniform(0.5, 1.0) * 2 ** (attempt - 1))",
        "pass",
        ("backoff/waits", "retry-after/seconds", "retry-after/minute"),
    ),
    "it waits a second each time": Mutant("random.uniform(0.5, 1.0) * 2 ** (attempt - 1)", "1.0", ("backoff/grows",)),
    "it draws nothing": Mutant("random.uniform(0.5, 1.0) *", "", ("backoff/jitter",)),
    "it waits for minutes": Mutant("random.uniform(0.5, 1.0) *", "random.uniform(200, 300) *", ("backoff/cap",)),
    "it reads no Retry-After": Mutant(
        "asked = asked_to_wait(response.headers)",
        "asked = 0.0",
        ("retry-after/seconds", "retry-after/date", "retry-after/streamed", "retry-after/day"),
    ),
    "it reads no milliseconds": Mutant('("retry-after-ms", 1000), ', "", ("retry-after/milliseconds",)),
    "it reads no dates": Mutant("max(0.0, parsedate", "min(0.0, parsedate", ("retry-after/date",)),
    "it believes any number": Mutant(
        'if 0 <= seconds < float("inf"):', "if True:", ("retry-after/negative", "retry-after/nan")
    ),
    "it waits as long as it is asked to": Mutant(" or asked > PATIENCE", "", ("retry-after/day",)),
    "it tries refusals again": Mutant(
        "RETRYABLE = {",
        "RETRYABLE = {400, 401, 403, ",
        ("errors/invalid_messages", "errors/invalid_model", "errors/account_overdue"),
    ),
    "its errors show the key": Mutant(
        "{response.text[:200]}",
        "{response.request.headers}",
        ("errors/secret-free", "errors/told-v2", "errors/wrong-keys"),
    ),
    "its errors are those of others": Mutant(
        "except requests.RequestException as error:\n            failure",
        "except ZeroDivisionError as error:\n            failure",
        ("errors/closed", "errors/no-http", "answers/cut"),
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    place = tmp_path_factory.mktemp("mutants")
    for number, mutant in enumerate(MUTANTS.values()):
        assert SOURCE.count(mutant.old) >= 1, f"the example has no {mutant.old!r} any more"
        source = SOURCE.replace(mutant.old, mutant.new)
        names = (*mutant.caught_by, "answers/plain")
        assert source.endswith("errors=(AnswerFailed,))\n")
        source = source.removesuffix(")\n") + f", cases=[case for case in CASES if case.name in {names}])\n"
        source = source.replace("import conformance\n", "import CASES, conformance\n")
        (place / f"test_mutant_{number}.py").write_text(source, encoding="utf-8")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "qfkit.testing.plugin", "--tb=no"]
    subprocess.run(
        [*command, "--qianfan-conformance-json=out.json"], cwd=place, capture_output=True, check=False, env=environment
    )
    suites = json.loads((place / "out.json").read_text("utf-8"))["suites"]
    found = {suite["module"]: {case["name"]: case for case in suite["cases"]} for suite in suites}
    return {name: found[f"test_mutant_{number}"] for number, name in enumerate(MUTANTS)}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_is_caught(results: dict[str, dict[str, Any]], name: str) -> None:
    played = results[name]
    assert {case for case, result in played.items() if result["result"] != "failed"} == {"answers/plain"}
    for case in MUTANTS[name].caught_by:
        assert played[case]["complaints"], case

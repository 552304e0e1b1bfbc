"""Configurations with one mistake each, and what is said about it."""

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """One malformed file.

    Attributes:
        text: the file.
        place: line and column that the message names.
        told: parts of the message, in this order.
        schema: JSON Schema can see it.
    """

    text: str
    place: str
    told: tuple[str, ...]
    schema: bool = True


def _top(line: str, column: int, *told: str, schema: bool = True) -> Mistake:
    return Mistake(f"# a comment\n{line}\n", f"2:{column}", told, schema)


def _account(line: str, column: int, *told: str, schema: bool = True) -> Mistake:
    return Mistake(f"accounts:\n  - name: a\n    {line}\n", f"3:{column + 4}", told, schema)


def _step(step: str, column: int, *told: str, schema: bool = True) -> Mistake:
    return Mistake(
        f"accounts:\n  - script:\n      - reply: good\n      - {step}\n",
        f"4:{column + 8}",
        (*told, "script[1]"),
        schema,
    )


def _rule(rule: str, column: int, *told: str, schema: bool = True) -> Mistake:
    return Mistake(f"accounts:\n  - rules:\n      - {rule}\n", f"3:{column + 8}", (*told, "rules[0]"), schema)


def _yaml(text: str, place: str, *told: str) -> Mistake:
    return Mistake(text, place, told, schema=False)


MISTAKES = [
    # Names of settings
    _top("seeed: 3", 1, "'seeed' is not a setting", "(at seeed)", "did you mean 'seed'?", "Example: seed: 7"),
    _top("Auth: off", 1, "'Auth' is not a setting", "did you mean 'auth'?"),
    _top("scew: 3", 1, "did you mean 'skew'?"),
    _top("form: [B/path]", 1, "did you mean 'forms'?", 'Example: forms: ["B/path"]'),
    _top("model: any", 1, "did you mean 'models'?"),
    _top("quotas: none", 1, "did you mean 'quota'?"),
    _top("un-matched: refuse", 1, "did you mean 'unmatched'?"),
    _top("tfft: 1", 1, "did you mean 'ttft'?"),
    _top("intervall: 1", 1, "did you mean 'interval'?"),
    _top("journal-bytes: 1", 1, "did you mean 'journal_bytes'?"),
    _top("admin_tokn: x", 1, "did you mean 'admin_token'?"),
    _top("acounts: []", 1, "did you mean 'accounts'?"),
    _top("script: []", 1, "'script' is not a setting", "it belongs at accounts[].script"),
    _top("rules: []", 1, "it belongs at accounts[].rules"),
    _top("access_key: x", 1, "it belongs at accounts[].access_key"),
    _top("rpm: 3", 1, "it belongs at accounts[].quota.rpm"),
    _top("zzz: 3", 1, "'zzz' is not a setting", "there are auth, seed, skew"),
    _top("on: 3", 1, "'on' is not a setting"),
    _top("12: 3", 1, "'12' is not a setting"),
    # Values of settings
    _top("auth: strickt", 7, "auth is one of 'strict', 'warn', 'off'", "got 'strickt'", "did you mean 'strict'?"),
    _top("auth: no", 7, "auth is one of", "got 'no'"),
    _top("auth: true", 7, "auth is one of", "got true"),
    _top("auth:", 1, "auth is one of", "got nothing", "nothing stands after the colon"),
    _top("auth: [strict]", 1, "auth is one of", "got a list"),
    _top("seed: seven", 7, "seed is a whole number", "got 'seven'"),
    _top("seed: 1.5", 7, "seed is a whole number", "got 1.5"),
    _top("seed: '7'", 7, "seed is a whole number", "a number has no quotes"),
    _top("seed: true", 7, "seed is a whole number", "got true"),
    _top("skew: 0", 7, "skew is a number above 0", "got 0"),
    _top("skew: -5", 7, "skew is a number above 0", "got -5"),
    _top("skew: 5 minutes", 7, "skew is a number above 0", "got '5 minutes'"),
    _top("skew: .nan", 7, "skew is a number above 0", "got nan", schema=False),
    _top("forms: B/path", 8, "forms is a list of 'B/path'", "got 'B/path'", "a list has one item a line"),
    _top("forms: [B/pth]", 9, "forms holds some of", "got 'B/pth'", "(at forms[0])", "did you mean 'B/path'?"),
    _top("forms: [A/url, 3]", 16, "forms holds some of", "got 3", "(at forms[1])"),
    _top("models: all", 9, "models is one of 'known', 'any'", "got 'all'"),
    _top("models: knwon", 9, "did you mean 'known'?"),
    _top("quota: 100", 8, "quota is one of 'documented', 'none'", "got 100"),
    _top("quota: documentd", 8, "did you mean 'documented'?"),
    _top("unmatched: refused", 12, "unmatched is one of 'answer', 'refuse'", "did you mean 'refuse'?"),
    _top("ttft: soon", 7, "ttft is a number from 0 to 3600", "got 'soon'", "Example: ttft: 0.2"),
    _top("ttft: -0.1", 7, "ttft is a number from 0 to 3600", "got -0.1"),
    _top("interval: 3601", 11, "interval is a number from 0 to 3600", "got 3601"),
    _top("interval: .inf", 11, "interval is a number from 0 to 3600", "got inf", schema=False),
    _top("journal: -1", 10, "journal is a whole number from 0 to 10000000", "got -1"),
    _top("journal: 10_000", 10, "journal is a whole number", "write it with digits alone, 10000"),
    _top("journal_bytes: 64 MiB", 16, "journal_bytes is a whole number", "got '64 MiB'"),
    _top("admin_token: 12345", 14, "admin_token is a text", "got a number", "put it in quotes"),
    _top("admin_token: ''", 1, "admin_token is a text", "got a text"),
    _top("accounts: shop", 11, "accounts is a list", "got 'shop'"),
    _top("accounts: {name: shop}", 1, "accounts is a list", "got a mapping", "a list has one item a line"),
    _top("accounts: [shop]", 12, "a mapping of", "got 'shop'", "(at accounts[0])"),
    # Accounts
    _account("acess_key: K", 1, "'acess_key' is not a setting", "accounts[0].acess_key", "did you mean 'access_key'?"),
    _account("api_key: K", 1, "'api_key' is not a setting", "did you mean 'bearer_token'?"),
    _account("rule: []", 1, "did you mean 'rules'?"),
    _account("steps: []", 1, "'steps' is not a setting", "did you mean 'script'?"),
    _account("colour: red", 1, "'colour' is not a setting", "there are access_key"),
    _account("auth: off", 1, "'auth' is not a setting", "it belongs at auth"),
    _account("qps: 3", 1, "it belongs at accounts[].quota.qps"),
    _account("secret_key: 123456", 13, "secret_key is a text", "got a number", "put it in quotes"),
    _account("bearer_token: [a]", 1, "bearer_token is a text", "got a list"),
    _account("strict: yes", 9, "strict is true or false", "got 'yes'", "YAML 1.2 has true and false alone"),
    _account("previous: old", 11, "previous is a mapping of access_key", "got 'old'"),
    _account("previous: {name: x}", 12, "'name' is not a setting", "accounts[0].previous.name"),
    _account("quota: 5", 8, "quota is a mapping of", "got 5"),
    _account("quota: {qps: -1}", 14, "qps is a whole number from 0 to 1000000000000", "got -1"),
    _account("quota: {qps: lots}", 14, "qps is a whole number", "got 'lots'"),
    _account("quota: {rmp: 5}", 9, "'rmp' is not a setting", "did you mean 'rpm'?"),
    _account("quota: {window: slide}", 17, "window is one of", "got 'slide'"),
    _account("quota: {models: [a]}", 9, "models is a mapping", "got a list"),
    _account("quota: {models: {ernie: 5}}", 25, "a mapping of qps", "accounts[0].quota.models.ernie"),
    _account("quota: {models: {ernie: {rpn: 5}}}", 26, "did you mean 'rpm'?"),
    _account("script: fail", 9, "script is a list of steps", "got 'fail'", "each step begins with a dash"),
    _account("script: {fail: 18}", 1, "script is a list of steps", "got a mapping"),
    _account("rules: {on: {}}", 1, "rules is a list of rules", "each rule begins with a dash"),
    _account("chaos: 0.1", 8, "chaos is a mapping", "got 0.1"),
    _account("chaos: {eror_rate: 0.1}", 9, "chaos has no option 'eror_rate'", "did you mean 'error_rate'?"),
    Mistake("accounts:\n  - name: a\n  - name: a\n", "3:11", ("this name is that of accounts[0] too",), schema=False),
    Mistake("accounts:\n  - ak: a\n  - ak: a\n", "3:9", ("this ak is that of accounts[0] too",), schema=False),
    # Steps
    _step("replay: x", 1, "a step has exactly one of reply, template, echo", "did you mean 'reply'?"),
    _step("fai: 18", 1, "did you mean 'fail'?", "Example: - {fail: 18, times: 2}"),
    _step("{times: 2}", 1, "a step has exactly one of", "got times"),
    _step("{}", 1, "a step has exactly one of", "got nothing"),
    _step("{reply: x, fail: 18}", 1, "a step has exactly one of", "got reply and fail", "make a step of each"),
    _step("reply", 1, "a step is a mapping", "got 'reply'", "did you mean 'reply'?"),
    _step("[reply, x]", 1, "a step is a mapping", "got a list"),
    _step("reply: 5", 8, "Expected", "got `int`"),
    _step("{reply: x, tmes: 2}", 12, "reply has no option 'tmes'", "did you mean 'times'?"),
    _step("{reply: x, times: 0}", 19, "times"),
    _step("{reply: x, times: often}", 19, "times"),
    _step("{reply: x, ttft: -1}", 18, "ttft is in seconds, from 0 to 3600", "got -1"),
    _step("{reply: x, jitter: gauss}", 20, "jitter is one of"),
    _step("{reply: x, interval: soon}", 22, "interval is in seconds", "got 'soon'"),
    _step("fail: 1818", 7, "1818", schema=False),
    _step("fail: rpm_rate_limit_exceded", 7, "rpm_rate_limit_exceeded", schema=False),
    _step("fail:", 1, "Expected", "got `null`"),
    _step("{fail: 18, retry_after: -1}", 25, "Expected", ">= 0"),
    _step("{fail: 18, retryafter: 1}", 12, "fail has no option 'retryafter'", "did you mean 'retry_after'?"),
    _step("{fail: 18, ttft: 1}", 12, "fail has no option 'ttft'"),
    _step("stream: abc", 9, "needs `chunk: word`", schema=False),
    _step("stream: [a, 1]", 13, "Expected `str`"),
    _step("{stream: [a], cut_after: 9}", 26, "at most 3 events", schema=False),
    _step("{stream: [a], cut: reset}", 20, "add cut_after", schema=False),
    _step("{stream: [a], cut_afer: 1}", 15, "stream has no option 'cut_afer'", "did you mean 'cut_after'?"),
    _step("{stream: [a], bom: 1}", 20, "bom is True or False"),
    _step("fault: rest", 8, "there is no fault 'rest'; did you mean 'reset'?", schema=False),
    _step("{fault: slow-headers, intervall: 1}", 23, "fault has no option 'intervall'", "did you mean 'interval'?"),
    _step("{fault: slow-headers, interval: soon}", 33, "interval is in seconds"),
    _step("{loop: 0}", 8, "loop"),
    # Rules
    _rule("{when: {}}", 2, "a rule has no key 'when'", "there are on, priority, script"),
    _rule("{contains: 天气}", 2, "a rule has no key 'contains'", "it belongs under on"),
    _rule("{prioritty: 1}", 2, "did you mean 'priority'?"),
    _rule("{priority: high}", 12, "priority is a whole number", "got 'high'"),
    _rule("{on: {modle: x}}", 7, "on has no option 'modle'", "did you mean 'model'?"),
    _rule("{on: model}", 6, "on is a mapping", "got 'model'"),
    _rule("{on: {regex: '('}}", 14, "regex", schema=False),
    _rule("{on: {dialect: v3}}", 16, "dialect", schema=False),
    _rule("{on: {stream: maybe}}", 15, "stream", schema=False),
    _rule("{on: {call: 0}}", 13, "call", schema=False),
    _rule("{on: {where: x}}", 14, "where"),
    _rule("{script: [{replay: x}]}", 12, "did you mean 'reply'?"),
    _rule("5", 1, "a rule is a mapping of on, priority, script", "got 5"),
    # YAML
    _yaml("- a\n- b\n", "1:1", "a mapping of settings", "got a list", "Example: auth: strict"),
    _yaml("hello\n", "1:1", "a mapping of settings", "got a text"),
    _yaml("seed: 1\n\tauth: off\n", "2:1", "not YAML", "indented with spaces, never with tabs"),
    _yaml("seed: 1\n auth: off\n", "2:6", "not YAML", "'auth: off'", "indented too far"),
    _yaml("accounts:\n    - name: a\n  - name: b\n", "3:3", "not YAML", "'- name: b'", "indented differently"),
    _yaml("seed: 1\nforms: [B/path\n", "2:8", "not YAML", "commas between its items"),
    _yaml("accounts: [{name: a]\n", "1:20", "not YAML", "commas between its items"),
    _yaml('seed: 1\nadmin_token: "abc\n', "2:14", "not YAML", "a quote is opened and never closed", "***"),
    _yaml("seed: 1\nauth off\n", "2:1", "not YAML", "a colon and a space"),
    _yaml("admin_token: @abc\n", "1:14", "not YAML", "***", "goes in quotes"),
    _yaml("seed: 1\nseed: 2\n", "2:1", "the key 'seed' is given twice, in lines 1 and 2", "keep one of them"),
    _yaml("auth: *strict\n", "1:7", "not YAML", "undefined alias", "a text that begins with *"),
    _yaml("auth: !!python/object:os.system x\n", "1:7", "the tag !!python/object:os.system is not used here"),
    _yaml("? [a]\n: b\n", "1:1", "a key is a text"),
    _yaml("seed: 1\n---\nseed: 2\n", "2:1", "a second document begins", "one file holds one mapping"),
    _yaml("seed: 1\nadmin_token: ${NOT_SET_ANYWHERE}\n", "2:14", "no variable NOT_SET_ANYWHERE", ":-...}"),
    _yaml("seed: \x07\n", "1:7", "not YAML", "may not stand in it", "remove it"),
    _yaml('auth: "\\q"\n', "1:9", "not YAML", "in double quotes"),
    _yaml("accounts: &a [*a]\n", "1:11", "an alias leads back"),
    _yaml("<<: 3\n", "1:5", "<< takes a mapping"),
]

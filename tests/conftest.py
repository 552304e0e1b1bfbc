"""Settings that hold for the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Deadlines measure the machine, and CI's is shared; the counts of examples are set where they matter.
settings.register_profile("qfkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("qfkit")

# A developer's own keys must not leak into tests, nor tests into a developer's account.
for name in [name for name in os.environ if name.startswith(("QIANFAN_", "OPENAI_"))]:
    del os.environ[name]

#: Modules that put thousands of drawn cases through code that other tests run, too: tracing them takes as long as they
#: do, and tells nothing about coverage.
REPEATING = frozenset(
    {
        "test_answers_schema",
        "test_backoff",
        "test_causes_generated",
        "test_faults_properties",
        "test_grading_properties",
        "test_quota_model",
        "test_raw_any_bytes",
        "test_robustness",
        "test_script_stateful",
        "test_signing_against_bce_sdk",
        "test_simulation_truth",
        "test_sse_properties",
        "test_strategies_shrinking",
    }
)
#: The same of single tests.
REPETITIVE = frozenset(
    {
        "test_a_hundred_thousand_clients_take_seconds_and_little_memory",
        "test_a_long_line_in_small_pieces_takes_linear_time",
        "test_every_pattern_is_linear",
        "test_nesting_without_end_is_refused",
        "test_runs_that_differ_from_each_other_are_not_told_apart_where_baselines_show_it",
        "test_the_same_service_twice_is_seldom_told_apart",
        "test_thousands_of_identical_failures_are_grouped_in_no_time",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in REPEATING or item.name.partition("[")[0] in REPETITIVE:
            item.add_marker("no_cover")  # pytest-cov's

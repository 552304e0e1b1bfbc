"""Schedules as distributions, held against the libraries that they are named after."""

from __future__ import annotations

import functools
import random
from random import Random
from types import SimpleNamespace

import openai
import pytest
import stamina
import tenacity
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qfkit.client import RetryPolicy
from qfkit.grading.schedules import Declared, Draw, named, of_backoff

seconds = st.floats(0, 100)
policies = st.builds(
    RetryPolicy,
    base=st.floats(0.01, 10),
    factor=st.floats(1, 4),
    cap=st.floats(0.01, 60),
    jitter=st.sampled_from(["full", "equal", "decorrelated", "none"]),
)


@given(policy=policies, failures=st.integers(1, 12), previous=st.none() | st.floats(0, 60), seed=st.integers())
def test_a_policy_never_leaves_what_its_schedule_says(policy, failures, previous, seed):
    draw = of_backoff(policy.schedule).after(failures, previous)
    low, high = draw.bounds
    assert low - 1e-9 <= policy.backoff(failures, Random(seed), previous) <= high + 1e-9


def _tenacity(wait):
    return lambda failures, _random: wait(SimpleNamespace(attempt_number=failures))


@functools.cache
def _openai_client():
    return openai.OpenAI(api_key="x", base_url="http://127.0.0.1:1", max_retries=10)


def _openai(failures, _random):
    options = openai._models.FinalRequestOptions(method="post", url="/", max_retries=10)
    return _openai_client()._calculate_retry_timeout(10 - (failures - 1), options, None)


def _urllib3(failures, _random):
    retry = urllib3.Retry(10, backoff_factor=0.5, backoff_jitter=1.0, backoff_max=6.0)
    history = [urllib3.util.retry.RequestHistory("POST", "/", None, 429, None)] * failures
    return retry.new(history=history).get_backoff_time()


def _stamina(failures, _random):
    from stamina._core import _RetryContextIterator

    context = _RetryContextIterator.from_params(
        on=ValueError,
        attempts=20,
        timeout=None,
        wait_initial=0.1,
        wait_max=5.0,
        wait_jitter=1.0,
        wait_exp_base=2.0,
        name="",
        args=(),
        kw={},
    )
    return context._jittered_backoff_for_rcs(SimpleNamespace(attempt_number=failures))


def _qianfan_sdk(failures, _random):
    # What the SDK builds from its own defaults (wire reference 6).
    return tenacity.wait_exponential_jitter(initial=1, jitter=1, max=120)(SimpleNamespace(attempt_number=failures))


LIBRARIES = {
    "openai": (named("openai"), _openai),
    "urllib3": (named("urllib3", backoff_factor=0.5, backoff_jitter=1.0, backoff_max=6.0), _urllib3),
    "stamina": (named("stamina"), _stamina),
    "qianfan": (named("qianfan"), _qianfan_sdk),
    "tenacity-jitter": (
        named("tenacity-jitter", initial=0.5, max=4.5, jitter=2.0),
        _tenacity(tenacity.wait_exponential_jitter(initial=0.5, max=4.5, jitter=2.0)),
    ),
    "tenacity-random": (
        named("tenacity-random", multiplier=0.5, max=8),
        _tenacity(tenacity.wait_random_exponential(multiplier=0.5, max=8)),
    ),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("failures", [1, 2, 3, 5, 9])
def test_the_named_schedules_are_those_of_the_libraries(library, failures):
    declared, wait = LIBRARIES[library]
    draw = declared.after(failures, None)
    random.seed(f"{library} {failures}")  # the libraries draw from the global source
    observed = [wait(failures, None) for _ in range(400)]
    low, high = draw.bounds
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in observed)
    if draw.fixed:
        assert low == pytest.approx(high)
        return
    shuffle = Random(1)
    assert stats.kstest([draw.transform(value, shuffle.random()) for value in observed], "uniform").pvalue > 1e-4


def test_stamina_is_asked_as_its_users_do():
    assert stamina.retry  # the private iterator above is what this public decorator drives


@given(low=seconds, width=st.floats(0.01, 50), cap=st.floats(0.01, 120), seed=st.integers())
def test_the_transform_of_a_draw_is_even_also_where_it_is_cut_off(low, width, cap, seed):
    draw, source = Draw(low, low + width, cap), Random(seed)
    if draw.fixed:
        return
    values = [draw.transform(draw.draw(source), source.random()) for _ in range(200)]
    assert all(0 <= value <= 1 for value in values)
    assert stats.kstest(values, "uniform").pvalue > 1e-6


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("aws-fool", {}, "did you mean 'aws-full'"),
        ("mine", {}, "there are aws-full"),
        ("aws-full", {}, "needs base and cap, in seconds"),
        ("openai", {"cap": 3}, "has no option 'cap'; it has initial, max"),
    ],
)
def test_a_wrong_name_is_told_the_right_one(name, options, says):
    with pytest.raises(ValueError, match=says):
        named(name, **options)


def test_a_call_ends_after_its_attempts():
    declared = Declared("three", lambda failures, previous: Draw(1, 2), attempts=3)
    assert declared.after(2, None) == Draw(1, 2)
    assert declared.after(3, None) is None


def test_a_call_that_fails_for_hours_does_not_overflow():
    for name in ("openai", "qianfan", "stamina", "tenacity-random"):
        assert named(name).after(5000, None) is not None

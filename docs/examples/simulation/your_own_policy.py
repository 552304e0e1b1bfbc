"""Is our retry policy fit for a rush of 5000 clients, and what would be better? Nothing is sent, and nobody waits."""

from mock_server.quota import Limits
from qfkit import RetryPolicy
from qfkit.simulation import scenario, simulate

rush = scenario("quota", clients=5000, over=10, limits=Limits(qps=200), dialect="v1")  # v1 sends no Retry-After
policies = {
    "ours": RetryPolicy(attempts=3, base=0.1, jitter="none"),
    "patient": RetryPolicy(attempts=10, base=1, cap=10, jitter="full"),
}

found = simulate(rush, policies)
for outcome in found.outcomes:
    print(f"{outcome.label}: {outcome.share:.0%} answered, {outcome.attempts_per_answer:.1f} attempts an answer")
print(found.advice.text)
assert found["ours"].share < 0.6
assert found["patient"].share > 0.95
assert found.advice.label == "patient"

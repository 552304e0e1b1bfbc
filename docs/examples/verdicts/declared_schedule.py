"""The waits of a client, held against the policy that it declares; on a clock that both share, so that nobody waits."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy


class SharedClock:
    """Time that passes when somebody sleeps."""

    now = 1_714_550_400.0

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds


clock = SharedClock()
policy = RetryPolicy(attempts=5, base=0.5, jitter="full")
with MockServer(port=0, clock=clock) as server:
    account = server.account()
    with Client(
        base_url=account.url, credentials=account.credentials, dialect="v2", clock=clock, retry=policy
    ) as client:
        for number in range(8):
            account.fail(500, times=4).then.reply("好")
            client.chat(f"第{number}问")
    verdict = account.verdict(schedule=policy)
    print(verdict.render())
    # One in a hundred runs of a good client may be told that its waits are spread otherwise.
    assert verdict.judgement.answer in {"kept", "broken"}
    assert account.verdict(schedule="exponential:base=0.5,cap=30").codes == ("schedule-broken",)

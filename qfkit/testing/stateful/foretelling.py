"""How a call should go: its requests, one after the other, put to the model, and what the client says of itself."""

from __future__ import annotations

from qfkit.testing.stateful.behaviour import Behaviour
from qfkit.testing.stateful.model import AccountModel, Met
from qfkit.testing.stateful.telling import Telling


def foretell(model: AccountModel, behaviour: Behaviour, telling: Telling, *, streamed: bool) -> Met:
    """What the last request of a call meets, which is what comes of the call.

    Args:
        model: is asked about each request, and moves on.
        behaviour: what the client says of itself.
        telling: has the requests that came, and is told what each should meet.
        streamed: they ask for a stream.

    Raises:
        ModelFailure: a request is missing, is one too many, or was answered with something else.
    """
    # After a refused renewal a client may drop the old token and try to buy another first, or show the old one again.
    buys = model.token is None or (model.renewal_refused and not telling.entries)
    if behaviour.tokens and buys and (met := _bought(model)) is not None:
        return _last(telling, met, came=0)
    attempts, renewed = 0, False
    for number, entry in enumerate(telling.entries, 1):
        met = model.meet(entry.time, stream=streamed, answered=entry.error_code)
        telling.attempts.append(met)
        if entry.error_code != met.code:
            raise telling.failure("other-answer", f"that #{entry.number} meets {met.what}")
        if met.token and behaviour.tokens and behaviour.renews and not renewed:
            renewed = True
            if (refused := _bought(model)) is not None:
                return _last(telling, refused, came=number)
            continue
        attempts += 1
        if attempts == behaviour.attempts or not _again(met, behaviour):
            return _last(telling, met, came=number)
    if not telling.entries:
        raise telling.failure("not-asked", "a request")
    reason = "with its new token" if telling.attempts[-1].token else f"as it makes {behaviour.attempts}"
    raise telling.failure("gave-up", f"another attempt after {telling.attempts[-1].what}, {reason}")


def _last(telling: Telling, met: Met, *, came: int) -> Met:
    """The outcome, once it is seen that no more requests came than ``came``."""
    if more := len(telling.entries) - came:
        raise telling.failure("went-on", f"no other attempt after {met.what}, and {more} more came")
    return met


def _bought(model: AccountModel) -> Met | None:
    """The client buys a token: what comes of the call where it gets none."""
    spec = model.buy_token()
    if spec is None:
        return None
    return Met(f"a refusal of its keys, where tokens are bought (code {spec.code})", "error", spec=spec, refused=True)


def _again(met: Met, behaviour: Behaviour) -> bool:
    """Whether the client makes another attempt, if it has one left."""
    if met.ending == "answer" or met.text:
        return False  # after content a second answer would differ from the first
    if met.stream and not behaviour.retries_streams:
        return False
    return behaviour.retries_broken if met.spec is None else behaviour.tries_again(met.spec)

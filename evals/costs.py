"""What answers cost: pure functions of counts, times and declared prices. Unknown in, unknown out.

Money is dollars. A price by tokens is what an API charges for a million of them; one by time is what an hour
of the machine costs that does nothing else. None stands for what nobody knows, and is never taken for 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seatrial.evals.models import ERROR, Generation

MILLION, HOUR, THOUSAND = 1_000_000, 3600, 1000


@dataclass(frozen=True)
class Tally:
    """Answers of one model, summed. ``errors``: how many of them never came. ``prompt_tokens``,
    ``completion_tokens``: of those that came. ``seconds``: how long each was waited for, in sum, which is
    more than the clock showed where several were asked at once. None: the runtime does not say."""

    answers: int
    errors: int
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float | None


def tally(answers: Iterable[Generation]) -> Tally:
    """The sums over ``answers``. A runtime that leaves a count or a time of an answer at 0 does not say it,
    and then the sum is unknown; only an answer without text may have no tokens."""
    answers = list(answers)
    came = [each for each in answers if not each.error and each.stop_reason != ERROR]
    return Tally(
        answers=len(answers),
        errors=len(answers) - len(came),
        prompt_tokens=sum(e.prompt_tokens for e in came) if all(e.prompt_tokens for e in came) else None,
        completion_tokens=sum(e.completion_tokens for e in came)
        if all(e.completion_tokens or not e.text for e in came)
        else None,
        seconds=round(sum(e.seconds for e in came), 4) if all(e.seconds > 0 for e in came) else None,
    )


def cost_by_tokens(
    prompt_tokens: float | None,
    completion_tokens: float | None,
    requests: int,
    price_in: float | None,
    price_out: float | None,
) -> float | None:
    """Dollars for 1,000 requests like these.

    ``prompt_tokens`` and ``completion_tokens``: of all ``requests`` together; ``price_in`` and ``price_out``:
    dollars for a million of them. None if one of them is unknown, or nothing was asked.
    """
    if requests <= 0 or None in (prompt_tokens, completion_tokens, price_in, price_out):
        return None
    assert prompt_tokens is not None and completion_tokens is not None
    assert price_in is not None and price_out is not None
    dollars = (prompt_tokens * price_in + completion_tokens * price_out) / MILLION
    return THOUSAND * dollars / requests


def cost_by_time(seconds: float | None, requests: int, price_per_hour: float | None) -> float | None:
    """Dollars for 1,000 requests like these, asked one after the other of a machine of one's own.

    ``seconds``: of all ``requests`` together; ``price_per_hour``: dollars. None if one of them is unknown, or
    nothing was asked.
    """
    if requests <= 0 or seconds is None or price_per_hour is None:
        return None
    return THOUSAND * seconds * price_per_hour / HOUR / requests


def schema_error_rate(broken: int | None, answers: int) -> float | None:
    """Share of ``answers``, 0 to 1, that do not fulfil the contract; None if that is unknown."""
    return None if broken is None or answers <= 0 else broken / answers


def tokens_per_second(tokens: float | None, seconds: float | None) -> float | None:
    """Tokens a second; None if one of them is unknown, or no time passed."""
    return None if tokens is None or seconds is None or seconds <= 0 else tokens / seconds

"""When a model of one's own is cheaper than an endpoint: pure functions of prices, times and counts.

Money is dollars, unknown in is unknown out. A machine of one's own is paid for by the hour whether it answers
or not, so its day costs 24 hours; how many machines are needed follows from seconds an answer, asked one
after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seatrial.evals.costs import HOUR, THOUSAND

DAY = 24 * HOUR


@dataclass(frozen=True)
class BreakEven:
    """Dollars a day for the same requests, and when training is paid back.

    ``machines``: how many serve them. ``from_requests``: requests a day from which this many machines cost
    less than the endpoint. ``days``: until what training cost is saved; infinite if it never is, None where
    the cost of training is unknown and something is saved each day.
    """

    endpoint_a_day: float
    own_a_day: float
    machines: int
    from_requests: float | None
    days: float | None


def break_even(
    requests_a_day: int,
    endpoint_per_1000: float | None,
    seconds_an_answer: float | None,
    price_per_hour: float | None,
    training: float | None,
) -> BreakEven | None:
    """Compare an endpoint with machines of one's own.

    Args:
        requests_a_day: how many are answered.
        endpoint_per_1000: dollars for 1,000 of them at the endpoint.
        seconds_an_answer: mean time of an own answer, asked alone.
        price_per_hour: dollars for an hour of one machine.
        training: dollars that making the model costs, once.

    Returns None if nothing is asked, or one of the first four is unknown.
    """
    if requests_a_day <= 0 or None in (endpoint_per_1000, seconds_an_answer, price_per_hour):
        return None
    assert endpoint_per_1000 is not None and seconds_an_answer is not None and price_per_hour is not None
    machines = max(1, math.ceil(requests_a_day * seconds_an_answer / DAY))
    own, endpoint = machines * 24 * price_per_hour, requests_a_day * endpoint_per_1000 / THOUSAND
    saved = endpoint - own
    if saved <= 0:
        days: float | None = math.inf
    else:
        days = None if training is None else training / saved
    paid_from = own * THOUSAND / endpoint_per_1000 if endpoint_per_1000 else None
    return BreakEven(endpoint, own, machines, paid_from, days)

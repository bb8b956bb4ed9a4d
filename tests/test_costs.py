"""Costs: sums of answers, prices, and what stays unknown.

python -m pytest tests/test_costs.py
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.evals.costs import (
    Tally,
    cost_by_time,
    cost_by_tokens,
    schema_error_rate,
    tally,
    tokens_per_second,
)
from seatrial.evals.models import Generation
from seatrial.evals.prices import read_prices
from seatrial.training.errors import SeatrialError

AMOUNTS = st.floats(0, 1e6)


# --- sums ----------------------------------------------------------------------------------------------
def test_answers_are_summed_and_those_that_never_came_are_counted_apart():
    answers = [
        Generation("a", 10, 3, seconds=0.5),
        Generation("b", 20, 4, seconds=1.5),
        Generation("half", 30, 2, "error", 9.0, error="timed out"),
    ]
    assert tally(answers) == Tally(3, 1, 30, 7, 2.0)


@pytest.mark.parametrize(
    ("silent", "unknown"),
    [
        (Generation("a", 0, 3, seconds=0.5), "prompt_tokens"),
        (Generation("a", 10, 0, seconds=0.5), "completion_tokens"),
        (Generation("a", 10, 3), "seconds"),
    ],
)
def test_what_a_runtime_does_not_say_of_one_answer_is_unknown_of_all(silent, unknown):
    found = vars(tally([Generation("b", 20, 4, seconds=1.5), silent]))
    assert [name for name, value in found.items() if value is None] == [unknown]


def test_an_answer_without_text_may_have_no_tokens():
    assert tally([Generation("", 10, 0, seconds=0.1)]).completion_tokens == 0


# --- money ---------------------------------------------------------------------------------------------
def test_a_thousand_requests_cost_their_tokens():
    # 20 requests of 100 tokens in and 50 out, at $3 and $15 a million: $0.00105 each.
    assert cost_by_tokens(2000, 1000, 20, 3.0, 15.0) == pytest.approx(1.05)


def test_a_thousand_requests_cost_the_machine_s_time():
    # 1.8 s each is half an hour for a thousand.
    assert cost_by_time(36.0, 20, 0.5) == pytest.approx(0.25)


@pytest.mark.parametrize("place", range(5))
def test_a_cost_of_which_a_part_is_unknown_is_unknown(place):
    known = [2000, 1000, 20, 3.0, 15.0]
    known[place] = 0 if place == 2 else None
    assert cost_by_tokens(*known) is None


@pytest.mark.parametrize("known", [(None, 20, 0.5), (36.0, 0, 0.5), (36.0, 20, None)])
def test_a_cost_by_time_of_which_a_part_is_unknown_is_unknown(known):
    assert cost_by_time(*known) is None


@given(AMOUNTS, AMOUNTS, st.integers(1, 1000), AMOUNTS, AMOUNTS, st.integers(2, 9))
def test_the_cost_is_of_a_request_and_not_of_how_many_were_asked(prompt, answer, n, price_in, price_out, k):
    once = cost_by_tokens(prompt, answer, n, price_in, price_out)
    assert cost_by_tokens(k * prompt, k * answer, k * n, price_in, price_out) == pytest.approx(once)
    assert cost_by_tokens(prompt, answer, n, k * price_in, k * price_out) == pytest.approx(k * once)
    assert cost_by_time(k * prompt, k * n, price_in) == pytest.approx(cost_by_time(prompt, n, price_in))


def test_rates():
    assert schema_error_rate(3, 12) == 0.25
    assert schema_error_rate(0, 12) == 0
    assert schema_error_rate(None, 12) is schema_error_rate(0, 0) is None
    assert tokens_per_second(30, 2.0) == 15
    assert tokens_per_second(0, 2.0) == 0
    assert tokens_per_second(None, 2.0) is tokens_per_second(30, None) is tokens_per_second(30, 0.0) is None


# --- prices --------------------------------------------------------------------------------------------
def test_prices_are_read_from_beside_the_task(tmp_path):
    assert read_prices(tmp_path) == {}
    (tmp_path / "prices.toml").write_text(
        '[models.shipped]\nper_hour = 0.53\nwhy = "a"\n[models.larger]\ninput = 2\noutput = 10.5\nwhy = "b"\n'
    )
    assert read_prices(tmp_path) == {
        "shipped": {"input": None, "output": None, "per_hour": 0.53, "why": "a"},
        "larger": {"input": 2.0, "output": 10.5, "per_hour": None, "why": "b"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[models.a]\nper_hour = -1\nwhy = "x"\n', "models.a.per_hour"),
        ("[models.a]\nper_hour = 1\n", "'models.a.why' is missing"),
        ('[models.a]\nper_hour = 1\nwhy = ""\n', "models.a.why"),
        ('[models.a]\ninput = 1\nwhy = "x"\n', "needs both 'input' and 'output'"),
        ('[models.a]\nwhy = "x"\n', "or 'per_hour'"),
        ('[models.a]\nper_hours = 1\nwhy = "x"\n', "did you mean 'per_hour'"),
        ('[a]\nper_hour = 1\nwhy = "x"\n', "unknown key 'a'"),
    ],
)
def test_a_mistake_in_the_prices_is_told_with_its_place(tmp_path, text, said):
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(SeatrialError) as raised:
        read_prices(tmp_path)
    assert said in str(raised.value)
    assert "prices.toml" in str(raised.value)

"""Production failures and critical cases: each is a hard requirement, one miss stops the release."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.hard_cases]


def test_hard_case(case, seatrial_observe_hard):
    observation = seatrial_observe_hard(case)
    assert observation.acceptable, observation.explain()

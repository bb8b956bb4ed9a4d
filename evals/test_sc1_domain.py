"""Domain understanding: does the shipped model understand what is asked?"""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("SC-1")]


def test_case(criterion, case, seatrial_observe):
    observation = seatrial_observe(criterion, case)
    assert observation.acceptable, observation.explain()


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

"""Response quality: acknowledges, offers a follow-up, keeps to the task's terms."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("SC-2")]


def test_case(criterion, case, seatrial_observe):
    observation = seatrial_observe(criterion, case)
    assert observation.acceptable, observation.explain()


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

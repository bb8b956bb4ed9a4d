"""The task's criteria, each once, and each case that they ask of the shipped model."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria()]


def test_case(criterion, case, seatrial_observe):
    observation = seatrial_observe(criterion, case)
    assert observation.acceptable, observation.explain()


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

"""Domain understanding: does the shipped model understand what is asked?"""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("SC-1")]


def test_case(criterion, case, observe):
    observation = observe(criterion, case)
    assert observation.acceptable, observation.explain()


def test_criterion(criterion, judge):
    verdict = judge(criterion)
    assert verdict.acceptable, verdict.explain()

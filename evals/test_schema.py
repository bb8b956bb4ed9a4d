"""The output contract: can the caller use every answer?"""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("SCHEMA")]


def test_case(criterion, case, observe):
    observation = observe(criterion, case)
    assert observation.acceptable, observation.explain()


def test_criterion(criterion, judge):
    verdict = judge(criterion)
    assert verdict.acceptable, verdict.explain()

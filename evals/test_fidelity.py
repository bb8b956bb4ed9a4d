"""Export fidelity: the file is the model that was trained, and no stage cost more than its margin."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("FIDELITY", "LOSS")]


def test_criterion(criterion, judge):
    verdict = judge(criterion)
    assert verdict.acceptable, verdict.explain()

"""Export fidelity: the file is the model that was trained, and no stage cost more than its margin."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("FIDELITY", "LOSS")]


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

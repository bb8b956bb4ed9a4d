"""Better than the base: the tuned model against the base, asked bare and with a good prompt."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("SC-3")]


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

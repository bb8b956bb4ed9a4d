"""The export: each artifact loads and answers, is small enough, and is the file on record."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("SC-4")]


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

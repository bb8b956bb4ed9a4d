"""Latency and memory, measured alone after a warm-up."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("LATENCY")]


def test_criterion(criterion, seatrial_judge):
    verdict = seatrial_judge(criterion)
    assert verdict.acceptable, verdict.explain()

"""Latency and memory, measured alone after a warm-up."""

import pytest

pytestmark = [pytest.mark.release, pytest.mark.criteria("LATENCY")]


def test_criterion(criterion, judge):
    verdict = judge(criterion)
    assert verdict.acceptable, verdict.explain()

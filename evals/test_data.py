"""The data, before anything is spent on training: ``pytest -m data``."""

import pytest

from evals import data

pytestmark = [pytest.mark.release, pytest.mark.data]


@pytest.mark.verdict(data.LEAKAGE)
def test_no_case_was_in_the_training_data(settings, record_verdict):
    if settings.program and settings.train is None:
        pytest.skip("a program was judged, and nobody says that it was trained: --train=FILE would")
    verdict = record_verdict(data.leakage(settings.train, settings.cases, settings.leakage_required))
    assert verdict.acceptable, verdict.explain()

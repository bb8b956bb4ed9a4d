"""The data, before anything is spent on training: ``pytest -m data``."""

import pytest

from evals import data

pytestmark = [pytest.mark.release, pytest.mark.data]


@pytest.mark.verdict(data.LEAKAGE)
def test_no_case_was_in_the_training_data(settings, record_verdict):
    if settings.program:
        pytest.skip("a program was judged: nothing was trained in this run")
    verdict = record_verdict(data.leakage(settings.task, settings.cases))
    assert verdict.acceptable, verdict.explain()

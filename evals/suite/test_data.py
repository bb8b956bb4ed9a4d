"""The data, before anything is spent on training: ``pytest -m data``."""

import pytest

from seatrial.evals import data

pytestmark = [pytest.mark.release, pytest.mark.data]


@pytest.mark.verdict(data.LEAKAGE)
def test_no_case_was_in_the_training_data(seatrial_settings, seatrial_record_verdict):
    if seatrial_settings.program and seatrial_settings.train is None:
        pytest.skip("a program was judged, and nobody says that it was trained: --train=FILE would")
    verdict = seatrial_record_verdict(
        data.leakage(
            seatrial_settings.train,
            seatrial_settings.cases,
            seatrial_settings.leakage_required,
            seatrial_settings.pairs,
            seatrial_settings.mix,
        )
    )
    assert verdict.acceptable, verdict.explain()

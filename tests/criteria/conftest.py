"""Evidence in memory."""

import pytest

from seatrial.evals.built import Built
from seatrial.evals.evidence import Evidence
from seatrial.evals.task import load_task
from seatrial.training.store import Store
from tests.criteria.fakes import MINIATURE, cases_of


@pytest.fixture
def evidence_of(tmp_path):
    """Evidence about models by role, with as many cases as the first of them answers."""

    def make(*models, cases=None, export=None, ratings=None):
        cases = cases or {"domain": cases_of(len(models[0].answers))}
        by_name = {model.name: model for model in models}
        return Evidence(
            Store(tmp_path), load_task(MINIATURE), cases, by_name, export or Built(), ratings or {}
        )

    return make

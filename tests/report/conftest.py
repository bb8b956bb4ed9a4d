import pytest

from seatrial.evals.report import render
from tests.page import Page
from tests.report_results import results


@pytest.fixture(scope="session")
def ship() -> Page:
    """The page of a run that ships."""
    return Page(render(results()))

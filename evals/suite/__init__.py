"""The shipped tests: ``pytest -m release`` runs them wherever Seatrial is (``fixtures/suite.py``)."""

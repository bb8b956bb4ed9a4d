"""The judge: metrics, statistics, models, fidelity, report; and, as test_*.py, the tests that are shipped."""

if __name__ != "seatrial.evals":  # a second copy of the modules would keep results of its own
    raise ImportError(f"{__name__!r} is not the package of this folder: import seatrial.evals")

"""How often the intervals of per-label figures hold the truth: ``python benchmarks/coverage.py``.

Answers are drawn from a known confusion matrix, so that the true figure is known; the interval is made of
them as of any answers, and either holds the truth or does not. With ``--repeats=1000`` a coverage of 95 % is
told to within 1.4 points. Two ways of being wrong: ``even`` (any other label, or none, is as likely) and
``skewed`` (the first label is nearly always right and the last draws the errors of all the others).

Prints, for each figure, number of labels and cases of each: the share of intervals that hold the truth, the
shares that lie wholly below and above it, and the mean width. Then the same of the calibration error of
answers that are right as often as they are sure, or less often by a tenth or two. Exit status 1 if an
interval holds the truth less often than ``--least``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from seatrial.evals.criterion import Criterion
from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.confusion import FIGURES, of_labels
from seatrial.evals.metrics.scores import Score

SEED = 7


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--labels", type=int, nargs="+", default=[3, 6])
    parser.add_argument("--cases", type=int, nargs="+", default=[8, 20, 50], help="of each label")
    parser.add_argument("--accuracies", type=float, nargs="+", default=[0.7, 0.9, 0.97])
    parser.add_argument("--least", type=float, default=0.0)
    options = parser.parse_args()
    random = np.random.default_rng(SEED)
    worst = 1.0
    print(f"{'figure':20s} labels cases right  errors   holds  below  above  width")
    for labels in options.labels:
        for cases in options.cases:
            for right in options.accuracies:
                for errors, matrix in (("even", _even(labels, right)), ("skewed", _skewed(labels, right))):
                    drawn = [
                        [random.multinomial(cases, row) for row in matrix] for _ in range(options.repeats)
                    ]
                    for name, figure in FIGURES.items():
                        truth = float(figure(cases * matrix).mean())
                        holds, below, above, width = _held(name, truth, drawn)
                        worst = min(worst, holds)
                        print(
                            f"{name:20s} {labels:6d} {cases:5d} {right:5.0%}  {errors:7s} {holds:6.1%} "
                            f"{below:6.1%} {above:6.1%} {width:6.3f}",
                            flush=True,
                        )
    print(f"\n{'figure':20s} cases  truth   holds  below  above  width")
    for cases in (50, 100, 300):
        for truth in (0.0, 0.1, 0.2):
            bounds = [_calibration(random, cases, truth) for _ in range(options.repeats)]
            holds, below, above, width = _shares(bounds, truth)
            worst = min(worst, holds)
            print(
                f"{'calibration':20s} {cases:5d} {truth:6.1f}  "
                f"{holds:6.1%} {below:6.1%} {above:6.1%} {width:6.3f}"
            )
    print(f"least: {worst:.1%}")
    return int(worst < options.least)


def _even(labels: int, right: float) -> Any:
    """Chances (labels, labels and none): all errors alike."""
    matrix = np.full((labels, labels + 1), (1 - right) / labels)
    matrix[range(labels), range(labels)] = right
    return matrix


def _skewed(labels: int, right: float) -> Any:
    """Chances (labels, labels and none): the first label is nearly always right, errors go to the last."""
    matrix = np.zeros((labels, labels + 1))
    for number in range(labels):
        good = 1 - (1 - right) * (0.1 if number == 0 else 1.0)
        matrix[number, number] = good
        matrix[number, -2 if number < labels - 1 else 0] += 1 - good
    return matrix


def _held(name: str, truth: float, drawn: Sequence[Sequence[Any]]) -> tuple[float, float, float, float]:
    """Shares of intervals that hold ``truth``, lie below it and above it; and their mean width."""
    estimator = of_labels(name)
    criterion = Criterion(id="X", title="x", metric=name, why="x", at_least=0.5)
    bounds: list[tuple[float | None, float | None]] = []
    for table in drawn:
        found = estimator.estimate(_scores(table), criterion)
        bounds.append((found.low, found.high))
    return _shares(bounds, truth)


def _calibration(random: Any, cases: int, over: float) -> tuple[float | None, float | None]:
    """The interval for answers of confidence 0.6 to 1 that are right less often by ``over``."""
    sure = random.uniform(0.6, 1, cases).round(2)
    right = random.uniform(size=cases) < sure - over
    scores = [
        Score(str(n), float(hit), parts=(float(s),))
        for n, (hit, s) in enumerate(zip(right, sure, strict=True))
    ]
    criterion = Criterion(id="X", title="x", metric="calibration", why="x", at_most=0.1)
    found = METRICS["calibration"].estimate(scores, criterion)
    return found.low, found.high


def _shares(bounds: Sequence[Any], truth: float) -> tuple[float, float, float, float]:
    low, high = np.array(bounds, float).T
    below, above = float((high < truth).mean()), float((low > truth).mean())
    return 1 - below - above, below, above, float((high - low).mean())


def _scores(table: Sequence[Any]) -> list[Score]:
    labels = len(table)
    return [
        Score(f"{right}.{found}.{copy}", float(right == found), group=f"l{right}", found=f"l{found}")
        for right, row in enumerate(table)
        for found in range(labels + 1)
        for copy in range(row[found])
    ]


if __name__ == "__main__":
    sys.exit(main())

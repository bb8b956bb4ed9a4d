"""What a metric costs: seconds for each thousand cases, ``python -m benchmarks.metrics``.

Each metric that judges single answers scores the right and the wrong answer of its example
(``tests/metric_examples.py``) in turn, as a criterion's scores are made, and then estimates its value with
the interval from as many scores. What is scored and estimated first is not timed: it imports what a metric
needs. Last, the right answer is scored with 100,000 characters of words behind it.

Processor time of one process. Prints a table, the dearest first. Needs the packages of the extra ``text``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from seatrial.evals.metrics import METRICS, Score
from tests.metric_examples import EXAMPLES, Example, criterion_for

LONG = " and so on" * 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    cases = parser.parse_args().cases
    rows = [_costs(example, cases) for example in EXAMPLES]
    print(f"seconds for {cases} cases, and for one answer of 100,000 characters more\n")
    print(f"{'metric':22s} {'scores':>8s} {'estimate':>8s} {'long answer':>12s}")
    for name, scores, estimate, long in sorted(rows, key=lambda row: -row[1]):
        print(f"{name:22s} {scores:8.3f} {estimate:8.3f} {long:12.3f}")
    print(f"{'all':22s} {sum(row[1] for row in rows):8.3f} {sum(row[2] for row in rows):8.3f}")
    return 0


def _costs(example: Example, cases: int) -> tuple[str, float, float, float]:
    metric, criterion = METRICS[example.metric], criterion_for(example.metric, example.settings)
    answers = (example.right, example.wrong)
    scores: list[Score] = [score for text in answers if (score := example.score(text))]
    scoring = _seconds(lambda: [example.score(answers[n % 2]) for n in range(cases)])
    many = [replace(scores[n % len(scores)], case=str(n)) for n in range(cases)]
    metric.estimate(many, criterion)
    estimate = _seconds(lambda: metric.estimate(many, criterion))
    return metric.name, scoring, estimate, _seconds(lambda: example.score(example.right + LONG))


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())

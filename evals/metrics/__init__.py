"""Metrics: (case, generation) → score with a reason, about twenty lines each.

Every module of this folder is found and imported; a decorator enters what it defines into ``METRICS``. Most
metrics score answers case by case (:func:`metric`); the others take what they need from the evidence
themselves. The estimate turns scores into a value with an interval.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from seatrial.evals.metrics.base import METRICS, Metric, Score, metric, register, scored

for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

__all__ = ["METRICS", "Metric", "Score", "metric", "register", "scored"]

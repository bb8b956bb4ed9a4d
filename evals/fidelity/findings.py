"""A finding: one thing about the file that was compared with the trained model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One comparison: what was checked, at which stage a difference comes in, both values."""

    check: str
    stage: str
    expected: str
    found: str
    ok: bool

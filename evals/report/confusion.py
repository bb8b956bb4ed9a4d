"""Confusion matrices for the page: each once, with the criteria that rest on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
MOST = 40  # labels; a larger matrix is told by its groups


def matrices(verdicts: Sequence[Json]) -> list[dict[str, Any]]:
    """The matrices of the shipped model, each with its criteria; ``parts`` are shares of a row, 0 to 1."""
    found: dict[str, dict[str, Any]] = {}
    for verdict in verdicts:
        measured = verdict["measured"]
        picture = (measured or {}).get("picture")
        if not picture or picture["kind"] != "confusion" or measured["model"] != "shipped":
            continue
        if len(picture["columns"]) > MOST:
            continue
        known = found.setdefault(repr(picture), {**picture, "criteria": [], "rows": _rows(picture)})
        known["criteria"].append(verdict)
    return list(found.values())


def _rows(picture: Json) -> list[dict[str, Any]]:
    rows = []
    for label, counts in zip(picture["rows"], picture["counts"], strict=True):
        total = sum(counts) or 1
        cells = [
            {"count": count, "part": round(count / total, 2), "right": column == label}
            for column, count in zip(picture["columns"], counts, strict=True)
        ]
        rows.append({"label": label, "cells": cells, "cases": sum(counts)})
    return rows

"""Human ratings: a CSV of ``case,answer_sha256,rating,rater,note``, keyed by the rated answer itself.

A rating counts only for exactly the answer that was rated, to the prompt that stands beside it, if one does:
a new artifact with another answer needs new ratings, and so does a case that asks something else. The run
writes a sheet to fill in beside its report; nothing here ever makes a rating up.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from seatrial.training.errors import SeatrialError, at

COLUMNS = ("case", "answer_sha256", "rating", "rater", "note", "prompt", "answer")
NEEDED = {"case", "answer_sha256", "rating"}


def answer_digest(case: str, text: str) -> str:
    """SHA-256 of a case's id and an answer to it."""
    return hashlib.sha256(f"{case}\0{text}".encode()).hexdigest()


def read_ratings(path: Path, prompts: Mapping[str, str] | None = None) -> dict[str, list[float]]:
    """Ratings from 1 to 5 by answer digest; rows without a rating are not rated yet and are left out.

    ``prompts``: what each case asks today. A row that was rated beside another prompt is left out, too.

    Raises:
        SeatrialError: with file and line, for a rating that is no number from 1 to 5.
    """
    if not path.is_file():
        return {}
    ratings: dict[str, list[float]] = {}
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SeatrialError(f"not UTF-8: {error}", where=path, hint="save it as CSV UTF-8") from None
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        if missing := NEEDED - set(reader.fieldnames or ()):
            raise SeatrialError(
                f"the column {sorted(missing)[0]!r} is missing",
                where=at(path, 1),
                hint=f"the first line names the columns: {','.join(COLUMNS)}",
            )
        for row in reader:
            rating = (row["rating"] or "").strip()
            asked = (prompts or {}).get((row["case"] or "").strip())
            if not rating or _is_another(row.get("prompt"), asked):
                continue
            try:
                value = float(rating)
            except ValueError:
                value = 0.0
            if not 1 <= value <= 5:
                raise SeatrialError(
                    f"'rating' is {rating!r}", where=at(path, reader.line_num), hint="a number from 1 to 5"
                )
            ratings.setdefault((row["answer_sha256"] or "").strip().lower(), []).append(value)
    return ratings


def _is_another(rated: str | None, asked: str | None) -> bool:
    """Whether a sheet's prompt is not the one that is asked; blanks are a spreadsheet's own affair."""
    return rated is not None and asked is not None and rated.split() not in ([], _harmless(asked).split())


def rating_sheet(rows: Iterable[tuple[str, str, str]]) -> str:
    """A CSV to fill in, from (case, prompt, answer) rows; no spreadsheet shall run an answer as a formula."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case, prompt, answer in rows:
        writer.writerow([case, answer_digest(case, answer), "", "", "", _harmless(prompt), _harmless(answer)])
    return sheet.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text

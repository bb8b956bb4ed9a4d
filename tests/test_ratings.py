"""People's ratings count for exactly the answers that they saw, and a sheet never runs an answer as a formula.

python -m pytest tests/test_ratings.py
"""

import csv
import io

import pytest

from seatrial.evals.ratings import COLUMNS, answer_digest, rating_sheet, read_ratings
from seatrial.training.errors import SeatrialError

HEADER = "case,answer_sha256,rating,rater,note\n"
DIGEST = answer_digest("create-1", "I added it.")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ratings.csv"


def read(file, text, encoding="utf-8"):
    file.write_bytes(text.encode(encoding))
    return read_ratings(file)


# --- mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rating", ["0", "0.99", "5.01", "6", "-3", "good", "4,5", "nan", "inf", "5/5"])
def test_a_rating_that_is_no_number_from_1_to_5_is_told_with_file_and_line(file, rating):
    with pytest.raises(SeatrialError) as caught:
        read(file, f'{HEADER}a,{DIGEST},4,ann,\n\nb,{DIGEST},"{rating}",ann,\n')
    assert str(caught.value) == f"{file}:4: 'rating' is {rating!r}\n  a number from 1 to 5"


def test_lines_are_counted_through_notes_of_several_lines(file):
    with pytest.raises(SeatrialError, match=f"{file.name}:5: 'rating' is 'x'"):
        read(file, f'{HEADER}a,{DIGEST},4,ann,"one\ntwo\nthree"\nb,{DIGEST},x,ann,\n')


@pytest.mark.parametrize("column", ["case", "answer_sha256", "rating"])
def test_a_missing_column_is_told_with_those_that_are_needed(file, column):
    with pytest.raises(SeatrialError) as caught:
        read(file, f"{HEADER.replace(column, 'other')}a,{DIGEST},4,ann,\n")
    assert str(caught.value).startswith(f"{file}:1: the column '{column}' is missing")
    assert ",".join(COLUMNS) in str(caught.value)


def test_an_empty_file_is_told(file):
    with pytest.raises(SeatrialError, match=r"ratings\.csv:1: the column 'answer_sha256' is missing"):
        read(file, "")


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_file_in_another_encoding_is_told(file, encoding):
    with pytest.raises(SeatrialError, match=r"ratings\.csv"):
        read(file, f"{HEADER}a,{DIGEST},4,Zoë,schön\n", encoding)


# --- what counts ---------------------------------------------------------------------------------------


def test_without_a_file_nobody_has_rated(file):
    assert read_ratings(file) == {}


def test_rows_that_nobody_has_filled_in_are_left_out(file):
    assert read(file, f"{HEADER}a,{DIGEST},,,\nb,{DIGEST},  ,,\n") == {}


def test_ratings_of_several_people_are_kept_side_by_side(file):
    found = read(file, f"{HEADER}create-1,{DIGEST},4,ann,\ncreate-1,{DIGEST.upper()}, 2.5 ,ben,too curt\n")
    assert found == {DIGEST: [4.0, 2.5]}


def test_a_sheet_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(file):
    # "CSV UTF-8" of Excel and LibreOffice's default both may begin with U+FEFF.
    assert read(file, f"{HEADER}create-1,{DIGEST},4,ann,\n", "utf-8-sig") == {DIGEST: [4.0]}


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("create-1", "I added it"),
        ("create-1", "i added it."),
        ("create-1", "I added it.\n"),
        ("create-2", "I added it."),
    ],
)
def test_a_rating_counts_for_no_other_answer_and_no_other_case(file, case, text):
    found = read(file, f"{HEADER}create-1,{DIGEST},4,ann,\n")
    assert answer_digest("create-1", "I added it.") in found
    assert answer_digest(case, text) not in found


def test_case_and_answer_are_told_apart_in_the_digest():
    assert answer_digest("a", "bc") != answer_digest("ab", "c")


# --- the sheet to fill in ------------------------------------------------------------------------------


def test_a_sheet_that_was_filled_in_gives_the_ratings_of_its_answers(file):
    answers = {"a": 'He said "hi", then left', "b": "two\nlines", "c": "=1+1", "d": "Grüße 🚢"}
    rows = list(csv.reader(io.StringIO(rating_sheet((case, "?", text) for case, text in answers.items()))))
    assert tuple(rows[0]) == COLUMNS
    for number, row in enumerate(rows[1:], start=1):
        row[2] = str(number)
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)
    assert read_ratings(file) == {
        answer_digest(case, text): [n] for n, (case, text) in enumerate(answers.items(), 1)
    }


@pytest.mark.parametrize(
    ("prompt", "counts"),
    [("Add milk.", True), ("Add  milk.\r\n", True), ("", True), ("Add bread.", False), ("=Add milk.", False)],
)
def test_a_rating_counts_for_the_prompt_that_was_rated_and_no_other(file, prompt, counts):
    """The same short answer to another question is another thing to rate."""
    row = [["a", answer_digest("a", "Done."), "5", "", "", prompt, "Done."]]
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([COLUMNS, *row])
    asked = {"a": "Add milk.", "b": prompt}
    assert bool(read_ratings(file, asked)) == counts


def test_a_prompt_like_a_formula_is_the_one_that_was_rated(file):
    file.write_text(rating_sheet([("a", "=1+1", "2")]).replace(",,,,", ",5,,,"), encoding="utf-8")
    assert read_ratings(file, {"a": "=1+1"}) == {answer_digest("a", "2"): [5.0]}
    assert read_ratings(file, {"a": "=1+2"}) == {}


def test_a_sheet_that_nobody_filled_in_rates_nothing(file):
    assert read(file, rating_sheet([("a", "prompt", "answer")])) == {}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"], ids=ascii)
@pytest.mark.parametrize("column", [5, 6], ids=["prompt", "answer"])
def test_no_cell_begins_like_a_formula(start, column):
    # OWASP, CSV Injection: these are the first characters by which spreadsheets know a formula.
    text = f'{start}HYPERLINK("http://example.org")'
    sheet = rating_sheet([("a", text, text)])
    _, row = csv.reader(io.StringIO(sheet, newline=""))
    assert row[column] == f"'{text}"
    assert row[1] == answer_digest("a", text), "the digest is that of the answer itself"


@pytest.mark.parametrize("text", ["plain", "", "1 = 1", '{"a": "-"}'])
def test_other_cells_stay_as_they_are(text):
    _, row = csv.reader(io.StringIO(rating_sheet([("a", text, text)])))
    assert row[5:] == [text, text]

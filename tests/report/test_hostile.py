"""Hostile text stays text, and the page loads and runs nothing."""

import json
import re
from pathlib import Path

import pytest

from seatrial.evals.report import render, write_report
from seatrial.evals.report.wording import LONGEST
from tests.page import HOSTILE, Page
from tests.report_results import (
    CASES,
    observation,
    results,
    shares,
    superior,
    verdict,
)


def poisoned(text: str) -> dict:
    """Results in which every string that a model, a case or a task can choose holds ``text``."""

    def poison(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        kept = key in {
            "status",
            "decision",
            "sha256",
            "rule",
            "unit",
            "better",
            "metric",
            "model",
            "step",
        }
        return value if kept or not isinstance(value, str) else f"{value} {text}"

    poisoned = poison(results())
    assert isinstance(poisoned, dict)
    return poisoned


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str, ship: Page) -> None:
    page = Page(render(poisoned(text)))
    assert sorted(set(page.tags)) == sorted(set(ship.tags))
    assert {name for name, _ in page.attributes} == {name for name, _ in ship.attributes}
    assert page.unbalanced == []
    for section in ("verdict", "criteria", "compared", "misses", "provenance"):
        assert " ".join(text.split()) in page.text(section), section


def test_hostile_names_of_models_metrics_and_cases_stay_text(ship: Page) -> None:
    name = "</svg><script>$\\frac{$\x1b"
    compared = verdict(
        "SC-3.x", "x", **superior(name, name), measured=shares("shipped"), against=shares("base")
    )
    compared["against"]["model"] = name
    timed = [{"case": name, "seconds": 1.0, "first_token_seconds": None, "completion_tokens": 3}]
    page = Page(render(results(verdicts=[compared], timings=timed)))
    assert set(page.tags) <= set(ship.tags)
    assert r"</svg><script>$\frac{$\x1b" in page.text("plots")


def test_what_cannot_be_seen_is_spelled_out() -> None:
    html = render(poisoned("a\u202eb\x07c\x00d\u200be\ud800f\u2028g\rh"))
    assert r"a\u202eb\x07c\x00d\u200be\ud800f\u2028g\rh" in html
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html
    )


def test_hidden_characters_survive_in_the_results(tmp_path: Path) -> None:
    text = "a\u202eb\x00\ud800"
    write_report(results(modelfile=text), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["modelfile"] == text
    assert (tmp_path / "results.json").read_text().isascii()


def test_a_huge_answer_is_cut_with_a_word_about_the_rest() -> None:
    answer = "x" * 3_000_000
    html = render(results(observations=[observation(CASES[0], missed=True, actual=answer)]))
    assert f"{len(answer) - LONGEST:,} more characters; results.json has them all" in html
    assert len(html) < 1_000_000


def test_an_answer_keeps_its_first_empty_line_and_its_spaces() -> None:
    html = render(results(modelfile="\n  FROM x"))
    assert '<pre dir="auto">\n\n  FROM x</pre>' in html


def test_nothing_is_loaded_and_nothing_runs(ship: Page) -> None:
    loads = [value for name, value in ship.attributes if name.endswith(("href", "src")) or name == "srcset"]
    assert loads
    assert all(value and value.startswith("#") for value in loads)
    assert not {"script", "iframe", "object", "embed", "img", "link", "form", "base"} & set(ship.tags)
    assert not [name for name, _ in ship.attributes if name.startswith("on")]
    html = render(results())
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_the_page_is_well_formed_and_its_links_lead_somewhere(ship: Page) -> None:
    assert ship.unbalanced == []
    assert ship.open == []
    ids = [value for name, value in ship.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    assert {value[1:] for name, value in ship.attributes if name.endswith("href") and value} <= set(ids)

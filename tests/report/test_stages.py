"""Stages at fault, what is folded, and what the page says of missing pieces."""

import pytest

from seatrial.evals.report import finite, render
from seatrial.evals.verdict import Measured, Miss
from tests.page import Page
from tests.report_results import (
    CASES,
    check,
    failing,
    fidelity,
    operations,
    refused,
    results,
    shares,
    verdict,
)


def damaged(count: int, **changes: str) -> list[Miss]:
    return [check(f"blk.{n}.attn_q.weight", "merge", **changes) for n in range(count)]


def test_stages_at_fault_stand_under_the_decision_in_the_order_of_the_pipeline() -> None:
    """Fails if the stages are left out, are those of a criterion that does not stop the release, or unsorted."""
    elsewhere = fidelity(check(stage="template"))[0] | {"criterion": "FIDELITY.other", "required": False}
    wrong = fidelity(check(stage="quantisation"), check("token ids", "tokenizer"))
    run = refused(1, elsewhere, *wrong, *operations(merged=CASES[:3]))
    text = Page(render(run)).text("verdict")
    assert (
        "failed Stages at fault: merge ( LOSS.operations.merge ) , tokenizer ( FIDELITY.weights ) , quantisation "
        "( FIDELITY.weights ) FIDELITY.weights FAIL"
    ) in text
    assert "template" not in text
    assert "stages at fault: quantisation, tokenizer" in text  # beside the criterion itself
    assert "stage at fault: merge" in text


def test_no_stage_is_at_fault_where_none_is_named(ship: Page) -> None:
    assert "at fault" not in ship.text("verdict")
    assert "at fault" not in Page(render(refused(1, failing()))).text("verdict")


@pytest.mark.parametrize("changes", [{}, {"actual": "two\nlines"}], ids=["table", "cards"])
def test_misses_beyond_twenty_are_folded_and_none_is_lost(changes: dict[str, str]) -> None:
    """Fails if a miss is dropped, or if more than 20 stand open."""
    html = render(refused(1, *fidelity(*damaged(272, **changes))))
    shown, _, folded = html[html.index('<section id="misses">') :].partition("and 252 more</summary>")
    assert "blk.19.attn_q.weight" in shown
    assert "blk.20.attn_q.weight" not in shown
    assert all(f"blk.{n}.attn_q.weight" in folded for n in range(20, 272))
    assert Page(html).unbalanced == []


def test_twenty_misses_are_not_folded() -> None:
    assert "more</summary>" not in render(refused(1, *fidelity(*damaged(20))))


def test_a_check_says_what_was_expected_found_and_which_stage_it_was() -> None:
    text = Page(render(refused(1, *fidelity(check())))).text("misses")
    assert "rope.freq_base expected 100000 found 10000 conversion differs from the trained" in text


def test_a_check_of_long_texts_is_a_card_without_a_question() -> None:
    wrong = check("conversation 3", "template", expected="<|im_start|>\nyou", actual="you")
    text = Page(render(results(verdicts=fidelity(wrong)))).text("misses")
    assert "conversation 3 template differs from the trained model (template) expected <|im_start|>" in text
    assert "asked (empty)" not in text


def test_hostile_names_of_checks_stay_text(ship: Page) -> None:
    """Fails if a name, value or stage of a check gets into the page unescaped; both layouts are tried."""
    name = "<script>alert(1)</script>"
    for text in (name, f"{name}\n" * 9):
        wrong = Miss(text, "", text, text, text, stage=text)
        page = Page(render(refused(1, *fidelity(wrong))))
        assert "script" not in page.tags
        assert name in page.text("misses")
        assert name in page.text("verdict")


def test_steps_that_passed_are_folded_and_failed_ones_are_not() -> None:
    """Fails if 13 comparisons drown the criteria again, or a failed one is hidden among them."""
    html = render(refused(1, *operations(merged=CASES[:3])))
    criteria = html[html.index('<section id="criteria">') : html.index('<section id="compared">')]
    shown, _, folded = criteria.partition("comparisons of stages, passed or not required</summary>")
    assert "<h4>LOSS.operations.merge</h4>" in shown
    assert "<h4>LOSS.operations.conversion</h4>" not in shown
    assert "<h4>LOSS.operations.conversion</h4>" in folded
    assert "<h4>LOSS.operations.ollama</h4>" in folded


def test_missing_pieces_are_named() -> None:
    bare = verdict("SC-1", "Domain", measured=shares("shipped"))
    html = render(
        results(
            verdicts=[bare],
            observations=[],
            shipped=None,
            recipe=None,
            modelfile=None,
            adapter_history=[],
            timings=[],
            artifacts=[],
            hard_cases={"total": 0, "passed": 0, "missed": [], "not_evaluated": []},
            run=results()["run"] | {"git": None, "memory_gb": None},
        )
    )
    text = Page(html).text()
    for words in (
        "none: no file was judged",
        "not in a git checkout",
        "This task has no hard cases.",
        "there is nothing to set side by side",
        "No case counted against a criterion.",
        "No per-case test ran.",
        "No training belongs to this run",
        "No answers were timed.",
        "None: nothing was built for this run.",
        "no dataset belongs to this run",
        "None: the model was made elsewhere.",
    ):
        assert words in text
    assert html.count('class="plot"') == 2
    assert "<clipPath" not in html


def test_a_trainer_that_logged_no_loss_is_told_apart_from_no_training() -> None:
    summary_only = [{"step": 170, "train_loss": 0.5}]
    assert "The trainer logged no loss." in render(results(adapter_history=summary_only))


def test_a_value_that_is_not_a_number_is_named() -> None:
    broken = verdict(
        "SC-1",
        "Domain",
        "INCONCLUSIVE",
        measured=Measured("shipped", float("nan"), 0.1, 0.2, 3, "x"),
    )
    assert "not a number" in render(finite(refused(11, broken)))

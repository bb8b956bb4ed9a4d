"""Where quality was won and lost: the steps of the chain, the sentence in words, the waterfall.

python -m pytest tests/test_attribution.py
"""

import pytest

from seatrial.evals.report import render, view
from seatrial.evals.report.attribution import Attribution, attributions, is_step
from seatrial.evals.report.waterfall import waterfall
from seatrial.evals.report.wording import role
from tests.page import HOSTILE, Page
from tests.report_results import (
    CASES,
    operations,
    perplexities,
    refused,
    results,
    verdicts,
)


@pytest.fixture(scope="module")
def ship() -> Page:
    return Page(render(results()))


# --- where quality was won and lost ---------------------------------------------------------------------
def told(verdicts: list[dict]) -> str:
    (chain,) = attributions(verdicts)
    return chain.sentence


USUAL = (
    "Training raised operations understood from 20 % to 100 % (16 of 20 cases); merge and conversion changed "
    "nothing; quantisation to the shipped file cost 5 points (1 of 20 cases, perhaps chance); Ollama was not "
    "asked (no Ollama server answers); for comparison, Q8_0 changed nothing and Q5_K_M cost 5 points (1 of 20 "
    "cases, perhaps chance)."
)


def test_the_sentence_tells_gains_ties_losses_and_what_was_not_asked() -> None:
    assert told(operations()) == USUAL


SAID = [
    ({"base": CASES[:1], "adapter": CASES[:8]}, "Training worsened operations understood from 95 % to 60 %"),
    ({"base": CASES[:1], "adapter": CASES[:8]}, "(7 of 20 cases), more than the 5 points allowed"),
    ({"base": CASES[:2], "adapter": CASES[:2]}, "Training left operations understood at 90 %;"),
    ({"base": CASES[:2], "adapter": CASES[2:4]}, "understood at 90 % (2 of 20 cases lost, 2 won);"),
    ({"merged": CASES[:6]}, "merge cost 30 points (6 of 20 cases), more than the 5 points allowed;"),
    ({"merged": CASES[:1], "f16": []}, "merge cost 5 points (1 of 20 cases, perhaps chance);"),
    ({"merged": CASES[:1], "f16": []}, "conversion won 5 points (1 of 20 cases, perhaps chance);"),
    (
        {"adapter": CASES[:1], "merged": CASES[1:2]},
        "merge changed nothing in sum (1 of 20 cases lost, 1 won)",
    ),
    ({"shipped": CASES[:8], "f16": CASES[7:9]}, "cost 30 points (7 of 20 cases lost, 1 won"),
    (
        {"merged": CASES[:1], "f16": CASES[:2]},
        "merge and conversion each cost 5 points (1 of 20 cases, perhaps chance)",
    ),
    ({"ollama": CASES[:7]}, "Ollama cost 30 points (7 of 20 cases lost, 1 won"),
]


@pytest.mark.parametrize(("wrong", "words"), SAID)
def test_the_sentence_is_right_for(wrong: dict[str, list[str]], words: str) -> None:
    """Fails if a loss is told as a gain, a swap of cases as nothing, or chance as certainty."""
    assert words in told(operations(missing={}, **wrong))


def test_the_sentence_knows_that_a_lower_perplexity_is_a_gain() -> None:
    """Fails if the direction is taken from the sign of the difference."""
    assert told(perplexities()).startswith(
        "Training lowered perplexity of held-out answers from 11.8 to 1.29; merge changed nothing; conversion "
        "changed next to nothing; quantisation to the shipped file cost 0.0497 (1.29 to 1.34); Ollama was not "
        "asked (Ollama gives no likelihoods); for comparison, Q8_0 changed next to nothing"
    )
    worse = told(perplexities(adapter=20.0, merged=19.0))
    assert worse.startswith("Training worsened perplexity of held-out answers from 11.8 to 20, more than")
    assert "merge won 1 (20 to 19);" in worse


def test_a_loss_beyond_its_margin_is_told_however_small_it_is() -> None:
    """Fails if rounding makes 'next to nothing' of what failed."""
    steps = perplexities(f16=1.2905)
    failed = next(each for each in steps if each["criterion"] == "LOSS.perplexity.conversion")
    failed |= {"status": "FAIL", "threshold": 0.0001}
    assert "conversion cost 0.0005 (perhaps chance), more than the 0.0001 allowed" in told(steps)


def test_the_sentence_names_what_is_missing_with_its_reason() -> None:
    """Fails if a step without a measurement is left out, or told as a tie."""
    given = "give its adapter with --adapter=DIR"
    missing = dict.fromkeys(("training", "merge", "conversion"), given)
    words = told(operations(missing=missing))
    assert words.startswith(
        f"Operations understood: training, merge and conversion were not evaluated ({given}); quantisation to"
    )
    assert "Ollama cost" not in words
    assert "Ollama changed nothing" in words
    some = told(operations(missing={"q8_0": "no such file"}))
    assert "for comparison, Q8_0 was not evaluated (no such file) and Q5_K_M cost" in some


def test_a_step_without_a_verdict_is_not_silently_left_out() -> None:
    found = [each for each in operations() if not each["criterion"].endswith((".merge", ".q8_0"))]
    assert "merge was not evaluated (these results hold no verdict on it)" in told(found)
    text = Page(render(results(verdicts=found))).text("attribution")
    assert "merge, against trained adapter" in text
    assert "Q8_0 Q8_0, against F16 not measured these results hold no verdict on it NOT EVALUATED" in text


def chain(**wrong: list[str]) -> Attribution:
    (made,) = attributions(operations(**wrong))
    return made


def test_models_stand_in_the_order_of_the_pipeline_with_files_of_other_sizes_before_the_shipped_one() -> None:
    order = ["base", "adapter", "merged", "f16", "q8_0", "q5_k_m", "shipped", "ollama"]
    made = chain()
    assert [stage.model for stage in made.stages] == order
    assert [step.name for step in made.steps if step.beside] == ["q8_0", "q5_k_m"]
    assert [stage.measured["value"] if stage.measured else None for stage in made.stages] == [
        *(0.2, 1.0, 1.0, 1.0, 1.0),
        *(0.95, 0.95, None),
    ]
    text = Page(render(results(verdicts=operations()))).text("attribution")
    table = text[text.index("Model Step Value") :]
    places = [table.index(f" {role(model)} ") for model in order]
    assert places == sorted(places)


def test_the_table_has_difference_interval_margin_status_and_stage() -> None:
    """Fails if a column goes, or if the columns change places."""
    text = Page(render(refused(1, *operations(merged=CASES[:6])))).text("attribution")
    columns = (
        "merged model merge, against trained adapter 70 % [50 to 77.1 %] −30 [−42.2 to −17.8] −5 allowed −5 FAIL "
        "stage at fault: merge"
    )
    assert columns in text
    assert (
        "Ollama Ollama, against shipped not measured no Ollama server answers NOT EVALUATED not required"
        in text
    )


def test_the_value_of_a_model_is_found_in_the_step_after_it() -> None:
    """Fails if a model's value is read from the step that made it alone."""
    given = "not here"
    (made,) = attributions(operations(missing={"training": given, "merge": given, "conversion": given}))
    values = {stage.model: stage.measured and stage.measured["value"] for stage in made.stages}
    assert values["f16"] == 1.0
    assert values["merged"] is None


def test_cases_that_changed_are_told_with_both_answers() -> None:
    text = Page(render(results(verdicts=operations(merged=["domain-list-1"], f16=[])))).text("attribution")
    assert (
        "merge, against trained adapter: 1 lost, 0 won of 20 cases domain-list-1 lost trained adapter" in text
    )
    assert (
        "conversion, against merged model: 0 lost, 1 won of 20 cases domain-list-1 won merged model" in text
    )


def test_the_steps_leave_side_by_side_to_base_and_shipped(ship: Page) -> None:
    """Fails if six more columns push into the comparison with the base."""
    assert view.page(results())["compared"]["models"] == ["base", "prompted_base", "shipped"]
    assert "merged model" not in ship.text("compared")


def test_a_criterion_that_only_looks_like_a_step_is_none() -> None:
    """Fails if a task's own comparison is folded away as a step."""
    step = operations()[1]
    assert step["criterion"] == "LOSS.operations.merge"
    assert is_step(step)
    assert not is_step(step | {"rule": "non_inferior"})
    assert not is_step(step | {"criterion": "merge"})
    assert not is_step(step | {"criterion": "LOSS.operations.other"})
    assert not is_step(step | {"against": step["against"] | {"model": "base"}})


def test_without_losses_the_section_says_so() -> None:
    text = Page(render(results(verdicts=verdicts()[:1]))).text("attribution")
    assert "No stages were compared: the task names no [[losses]]" in text


def test_hostile_text_stays_text_where_quality_was_won_and_lost(ship: Page) -> None:
    """The ids of steps stay whole here, so that the section has its table and drawings."""
    text = HOSTILE[1]
    wrong = operations(merged=CASES[:2], missing={"q8_0": text})
    for each in wrong:
        each["title"] = f"{text}{each['title']}"
        for measured in filter(None, (each["measured"], each["against"])):
            measured["answers"] = dict.fromkeys(measured["answers"], text)
    page = Page(render(results(verdicts=wrong)))
    assert not set(page.tags) - set(ship.tags) - {"b"}
    assert page.unbalanced == []
    section = page.text("attribution")
    assert f"({text})" in section
    assert section.count(text) > 6


# --- the waterfall --------------------------------------------------------------------------------------
def test_the_same_steps_give_the_same_waterfall_and_others_another() -> None:
    drawn = waterfall(chain())
    assert drawn
    assert drawn == waterfall(chain())
    assert drawn != waterfall(chain(merged=CASES[:6]))
    assert drawn.startswith("<svg")
    for words in ("20 %", "+80 points", "0 points", "−5 points", "95 %", "if Q8_0", "not evaluated"):
        assert f">{words}<" in drawn


def test_a_waterfall_colours_gains_and_losses_by_what_is_better() -> None:
    """Fails if a falling perplexity is drawn as a loss."""
    gained, lost = "var(--plot-gain, #0a6b3d)", "var(--plot-loss, #b3211b)"
    missing = dict.fromkeys(("merge", "conversion", "quantisation", "q8_0", "q5_k_m", "ollama"), "none")
    (better,) = attributions(perplexities(missing=missing))
    (worse,) = attributions(perplexities(missing=missing, adapter=20.0))
    drawn, other = waterfall(better), waterfall(worse)
    assert drawn and other
    assert gained in drawn and lost not in drawn
    assert lost in other and gained not in other


def test_steps_too_small_to_be_seen_are_drawn_enlarged() -> None:
    (made,) = attributions(perplexities())
    drawn = waterfall(made)
    assert drawn
    assert ">after training, enlarged<" in drawn
    assert drawn.count(">+0.0497<") == 2
    assert "enlarged" not in str(waterfall(chain()))


def test_there_is_no_waterfall_without_a_measured_step() -> None:
    names = ("training", "merge", "conversion", "quantisation", "q8_0", "q5_k_m", "ollama")
    nothing = operations(missing=dict.fromkeys(names, "a program was judged, not a file"))
    (made,) = attributions(nothing)
    assert waterfall(made) is None
    text = Page(render(results(verdicts=nothing))).text("attribution")
    assert "No step was measured, so there is nothing to draw." in text
    assert "quantisation to the shipped file were not evaluated (a program was judged, not a file)" in text


def test_a_difference_that_is_not_a_number_is_named_and_not_drawn() -> None:
    steps = perplexities()
    steps[0]["comparison"]["difference"] = steps[0]["measured"]["value"] = None
    (made,) = attributions(steps)
    assert "training was not evaluated (the difference is not a number)" in made.sentence
    assert waterfall(made)
    assert "not a number" in Page(render(results(verdicts=steps))).text("attribution")

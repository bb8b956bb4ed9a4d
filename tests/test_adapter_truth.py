"""The truth of any adapter: whichever way it was trained, our merge is what was trained, and a merge that is not
is found out. Every row is really trained, by plain peft; ``test_recipes.py`` has our own backend's.

python -m pytest tests/test_adapter_truth.py
"""

from __future__ import annotations

import pytest
import torch

from seatrial.evals.fidelity.strength import fit, mistake
from seatrial.training import exact
from seatrial.training.merge import merge
from seatrial.training.trained_on import trained_on
from tests.adapters import WAYS, changed, gguf, made, without

ROUNDED = ("nf4", "nf4-double")


@pytest.fixture(scope="module", params=WAYS)
def trained(request, tmp_path_factory):
    torch.set_num_threads(1)
    return made(WAYS[request.param], tmp_path_factory.mktemp("way"))


@pytest.fixture(scope="module")
def right(trained):
    """Our own merge, and its F16 file."""
    folder = trained.merged()
    return folder, gguf(folder, trained.place)


def strength(trained, file, f16):
    return fit(file, f16, None, trained.adapter, trained.base, trained.held)


def test_the_merge_is_the_model_that_was_trained(trained, right):
    assert abs(trained.divergence(right[0])) < 1e-6
    # Beside the base as bitsandbytes really holds it; that rounds activations as well in 8 bits, and 16 bits do.
    room = 2e-2 if trained.way.precision in ("int8", "bf16") else 1e-3
    assert abs(trained.divergence(held=True)) < room


def test_the_merge_goes_tensor_by_tensor_and_is_what_peft_makes_of_the_whole_model(
    trained, right, monkeypatch
):
    def refuse(*anything):
        raise exact.NotByTensor("for this test")

    monkeypatch.setattr("seatrial.training.merge.Exact", refuse)
    out = trained.place / "whole"
    out.mkdir()
    parts = {"base": str(trained.base), "adapter": str(trained.adapter), "out": str(out)}
    facts = merge({**parts, **trained.held}, lambda **event: None)
    assert facts["whole"] == "for this test"
    if trained.way.tied and "lm_head" in trained.way.lora.get("target_modules", ()):
        return  # peft adds the head's update to the embeddings, too, which share its weights: see the next test
    one, other = (trained.logits(folder) for folder in (out, right[0]))
    assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_K"])
def test_a_right_file_gives_no_alarm(trained, right, kind):
    found = strength(trained, gguf(right[0], trained.place, kind), right[1])
    assert found.right, found
    assert mistake(found, merge=kind == "F16") == ""


@pytest.mark.parametrize("kind", ["F16", "Q4_K"])
def test_a_merge_at_another_scale_is_found(trained, right, kind):
    other = trained.place / "stronger"
    if not other.exists():
        alpha = {name: 1.3 * value for name, value in trained.way.lora.get("alpha_pattern", {}).items()}
        trained.merged(
            "stronger", adapter=changed(trained, "strong", lora_alpha=1.3 * 16, alpha_pattern=alpha)
        )
    found = strength(trained, gguf(other, trained.place, kind), right[1])
    assert not found.right
    assert "the adapter is 1." in mistake(found)


def test_a_base_without_the_adapter_is_found(trained, right):
    out = trained.place / "bare"
    out.mkdir()
    merge({"base": str(trained.base), "out": str(out), **trained.held}, lambda **event: None)
    found = strength(trained, gguf(out, trained.place), right[1])
    assert not found.right
    assert "the adapter is not in it" in mistake(found)


def test_a_merge_into_the_published_weights_is_found(trained, right):
    if trained.way.precision not in ROUNDED or trained.way.checkpoint is not None:
        pytest.skip("training did not round its base, or the published one is not here")
    folder = trained.merged("published", precision="fp32")
    assert trained.divergence(folder) > 1e-5
    for kind in ("F16", "Q8_0"):
        found = strength(trained, gguf(folder, trained.place, kind), right[1])
        assert not found.right
        assert "the base as it was published" in mistake(found)


def test_a_merge_into_the_published_weights_is_no_fault_where_training_hardly_rounded_them(trained, right):
    if trained.way.precision in ROUNDED or trained.way.checkpoint is not None:
        pytest.skip("training rounded its base, or the published one is not here")
    folder = trained.merged("published", precision="fp32")
    assert abs(trained.divergence(folder)) < 1e-4
    found = strength(trained, gguf(folder, trained.place), right[1])
    assert found.right, found
    assert mistake(found, merge=True) == ""


def test_an_adapter_that_was_merged_twice_is_found(trained, right):
    if trained.way.lora.get("use_dora") or trained.way.added:
        pytest.skip("a second DoRA adds little to the first; rows that were added are there already")
    folder = trained.merged("twice", base=right[0], precision="fp32")
    found = strength(trained, gguf(folder, trained.place), right[1])
    assert not found.right
    if (
        trained.way.lora.get("init_lora_weights") is None
    ):  # else a second merge takes its start out of the first
        assert "the adapter is twice in it" in mistake(found)


def test_trained_embeddings_that_were_left_out_are_found(trained, right):
    if not trained.way.lora.get("modules_to_save") or trained.way.added:
        pytest.skip("nothing of the kind was trained")
    folder = trained.merged("layers", adapter=without(trained, "bare-layers", "embed_tokens", "lm_head"))
    found = strength(trained, gguf(folder, trained.place), right[1])
    assert not found.right
    assert "embeddings and head is not in it" in mistake(found)


def test_a_base_that_is_quantised_already_says_so_itself(trained):
    if trained.way.checkpoint is None:
        pytest.skip("the base is whole")
    found = trained_on(trained.adapter, trained.base)
    assert found.precision == trained.way.precision

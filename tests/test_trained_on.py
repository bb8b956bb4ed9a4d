"""What an adapter was trained beside: who says so, who is believed, and what is told where nobody says.

python -m pytest tests/test_trained_on.py
"""

from __future__ import annotations

import json

import pytest

from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import load_recipe
from seatrial.training.trained_on import WORDS, TrainedOn, require, trained_on

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": False}
DOUBLE = {**NF4, "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16"}
SKIPS = {**DOUBLE, "llm_int8_skip_modules": ["lm_head", "model.layers.0.mlp"], "quant_method": "bitsandbytes"}
INT8 = {"load_in_8bit": True, "quant_method": "bitsandbytes"}
CARD = """---
library_name: peft
---
## Training procedure

The following `bitsandbytes` quantization config was used during training:
- quant_method: QuantizationMethod.BITS_AND_BYTES
- _load_in_8bit: False
- _load_in_4bit: True
- llm_int8_skip_modules: None
- bnb_4bit_quant_type: nf4
- bnb_4bit_use_double_quant: True
- bnb_4bit_compute_dtype: float16

### Framework versions
- PEFT 0.9.0
"""


@pytest.mark.parametrize(("precision", "refused"), [("nf4", True), ("int8", True), ("bf16", False)])
def test_a_start_that_rounded_the_base_anew_is_refused(tmp_path, precision, refused):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"init_lora_weights": "olora"}))
    found = TrainedOn(precision, "the test")
    if not refused:
        assert require(tmp_path, found) is found
        return
    with pytest.raises(SeatrialError, match=f"rounded it anew in {precision}(.|\n)*path_initial_model"):
        require(tmp_path, found)


@pytest.fixture
def place(tmp_path):
    """The folders of an adapter and of its base, with these configurations and this model card."""

    def make(named="org/base", adapter=None, manifest=None, card="", base=None):
        for name in ("adapter", "base"):
            (tmp_path / name).mkdir()
        config = {"base_model_name_or_path": named, **(adapter or {})}
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
        if manifest is not None:
            (tmp_path / "adapter" / "manifest.json").write_text(json.dumps({"facts": manifest}))
        (tmp_path / "adapter" / "README.md").write_text(card)
        said = {"quantization_config": base} if base else {}
        (tmp_path / "base" / "config.json").write_text(json.dumps(said))
        return tmp_path / "adapter", tmp_path / "base"

    return make


ROWS = {
    "our manifest": ({"manifest": {"backend": "trl", "precision": "int8"}}, None, "int8"),
    "a manifest of before there was a choice": ({"manifest": {"backend": "trl"}}, None, "nf4"),
    "the adapter's configuration": ({"adapter": {"quantization_config": DOUBLE}}, None, "nf4-double"),
    "peft's model card": ({"card": CARD}, None, "nf4-double"),
    "a base in four bits": ({"base": NF4}, None, "nf4"),
    "a base in four bits, doubly": ({"base": SKIPS}, None, "nf4-double"),
    "a base in eight bits": ({"base": INT8}, None, "int8"),
    "a name that says four bits, and a base": (
        {"named": "unsloth/x-bnb-4bit", "base": DOUBLE},
        None,
        "nf4-double",
    ),
    "a name that says four bits, and the option": ({"named": "unsloth/x-bnb-4bit"}, "nf4", "nf4"),
    "a name that says eight bits": ({"named": "org/x-bnb-8bit"}, None, "int8"),
    "only the option": ({}, "fp16", "fp16"),
    "the option, and the same in the card": ({"card": CARD}, "nf4-double", "nf4-double"),
}


@pytest.mark.parametrize("row", ROWS)
def test_who_says_it(row, place):
    files, option, precision = ROWS[row]
    assert trained_on(*place(**files), None, option).precision == precision


@pytest.mark.parametrize("word", WORDS)
def test_every_word_of_recipes_is_a_word_of_the_option(word, place):
    assert trained_on(*place(), None, word) == TrainedOn(word, "--trained-on")


def test_the_modules_left_out_and_the_type_of_the_base_are_kept(place):
    found = trained_on(*place(base=SKIPS))
    assert (found.skipped, found.compute_dtype) == (("lm_head", "model.layers.0.mlp"), "bfloat16")
    assert found.facts()["skipped"] == ("lm_head", "model.layers.0.mlp")


def test_the_recipe_is_asked_last_and_only_for_its_own_base(place):
    recipe = load_recipe("smollm2-135m-cpu")
    adapter, base = place(named=recipe.base.model)
    assert trained_on(adapter, base, recipe).source == "the recipe 'smollm2-135m-cpu'"
    assert trained_on(adapter, base, recipe, "bf16").precision == "bf16"
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/other"}')
    assert trained_on(adapter, base, recipe) is None


def test_where_nobody_says_the_error_names_the_option_and_its_words(place):
    adapter, base = place()
    with pytest.raises(SeatrialError, match=r"(?s)in which precision.*--trained-on=nf4\|nf4-double\|int8"):
        require(adapter, trained_on(adapter, base))


@pytest.mark.parametrize(
    ("files", "option", "told"),
    [
        (
            {"card": CARD},
            "bf16",
            "README.md says .* nf4-double, --trained-on says bf16\n.*leave --trained-on",
        ),
        ({"manifest": {"backend": "trl", "precision": "bf16"}}, "nf4", "manifest says .* bf16, --trained-on"),
        ({"base": NF4}, "nf4-double", "config.json of its base .* nf4, --trained-on says nf4-double"),
        ({"named": "x-bnb-4bit"}, "fp32", "'x-bnb-4bit', says .* nf4 or nf4-double, --trained-on says fp32"),
        (
            {"card": CARD, "base": INT8},
            None,
            "nf4-double, the config.json of its base .* says int8\n.*give the",
        ),
    ],
)
def test_a_contradiction_is_refused(files, option, told, place):
    with pytest.raises(SeatrialError, match=told):
        trained_on(*place(**files), None, option)


def test_a_name_that_says_no_more_than_four_bits_is_asked_about(place):
    adapter, base = place(named="unsloth/x-bnb-4bit")
    with pytest.raises(SeatrialError, match=r"held in 4 bits.*\n.*--trained-on=nf4\|nf4-double"):
        trained_on(adapter, base)


@pytest.mark.parametrize(
    "files",
    [
        {"base": {"quant_method": "gptq", "bits": 4}},
        {"card": CARD.replace("quant_type: nf4", "quant_type: fp4")},
        {"named": "org/Llama-GPTQ"},
    ],
)
def test_weights_that_cannot_be_made_here_are_told_with_what_can_be_done(files, place):
    with pytest.raises(SeatrialError, match="(?s)cannot be made here.*--hf-model=DIR"):
        trained_on(*place(**files))


def test_a_word_that_is_none(place):
    with pytest.raises(SeatrialError, match="there is no 'nf5'\n.*did you mean 'nf4'"):
        trained_on(*place(), None, "nf5")


@pytest.mark.parametrize("card", ["", "no settings here", CARD.partition("- quant")[0], "\ufeff- a: b"])
def test_a_card_without_settings_says_nothing(card, place):
    assert trained_on(*place(card=card)) is None

"""Tensors against the trained ones, and how strongly the adapter is in them, on a model of random numbers:
base + rounding of the base + update of the adapter, in the proportions of a real QLoRA training.

python -m pytest tests/test_weights.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants
from safetensors.numpy import save_file

from seatrial.evals.fidelity.blame import ELSEWHERE, SEVERAL
from seatrial.evals.fidelity.chain import EXPLAINED, _rounded_more
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.parts import updates
from seatrial.evals.fidelity.stages import CONVERSION, FILE, MERGE, QUANTISATION
from seatrial.evals.fidelity.strength import Strength, fit
from seatrial.evals.fidelity.tensors import tensors, values
from seatrial.evals.fidelity.weights import compare, of_file
from seatrial.evals.fidelity.yardstick import packed, rounded
from seatrial.training.gguf_file import open_gguf
from seatrial.training.store import Artifact, Store, file_digest

LAYERS, SIZE, HEADS, RANK, ALPHA = 2, 256, 4, 8, 16
MODULES = {"self_attn.q_proj": "attn_q", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output"}
MODULES |= {"mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
KINDS = ["F16", "BF16", "Q8_0", "Q4_K", "Q4_0", "IQ4_XS", "IQ3_S", "Q2_K"]


@dataclass
class Trained:
    """The parts of a trained model, by llama.cpp's tensor name, and the folders that hold them."""

    folder: Path
    base: dict[str, np.ndarray] = field(default_factory=dict)
    rounding: dict[str, np.ndarray] = field(default_factory=dict)
    update: dict[str, np.ndarray] = field(default_factory=dict)
    rest: dict[str, np.ndarray] = field(default_factory=dict)  # what has no adapter

    def merged(self, adapter: float = 1.0, rounding: float = 1.0) -> dict[str, np.ndarray]:
        """The model with the adapter (and the base's rounding) in it so many times."""
        parts = {n: w + rounding * self.rounding[n] + adapter * self.update[n] for n, w in self.base.items()}
        return {**self.rest, **parts}

    def file(self, weights: dict[str, np.ndarray], kind: str, importance=None, *said: str) -> Path:
        path = self.folder / f"{len(list(self.folder.iterdir()))}-{kind}.gguf"
        return write(path, weights, GGMLQuantizationType[kind], importance, said)

    def fit(self, file: Path, quantised: Path | None = None, base: bool = True):
        folders = self.folder / "adapter", self.folder / "base" if base else None
        return fit(file, self.folder / "own-f16.gguf", quantised, *folders)

    def compare(self, file: Path, quantised: Path | None = None):
        own = self.folder / "own-f16.gguf"
        added = {update.name: update for update in updates(self.folder / "adapter", own)}
        return compare(file, own, quantised, added)


def write(path, weights, kind, importance=None, said=()) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    for key in said:
        writer.add_string(key, "said")
    for name, numbers in weights.items():
        if numbers.ndim == 1:
            writer.add_tensor(name, numbers.astype(np.float32))
        elif kind == GGMLQuantizationType.F16:
            writer.add_tensor(name, numbers.astype(np.float16))
        else:
            writer.add_tensor(name, packed(numbers, kind, importance), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    made = Trained(tmp_path_factory.mktemp("trained"))
    random, hf_base, matrices = np.random.default_rng(7), {}, {}
    for layer in range(LAYERS):
        made.rest[f"blk.{layer}.attn_norm.weight"] = random.random(SIZE, dtype=np.float32) + 0.5
        for module, short in MODULES.items():
            name, hf = f"blk.{layer}.{short}.weight", f"model.layers.{layer}.{module}"
            weights = 0.05 * random.standard_normal((SIZE, SIZE), dtype=np.float32)
            down, up = (random.standard_normal(s, dtype=np.float32) for s in ((RANK, SIZE), (SIZE, RANK)))
            up *= 0.2 * 0.05 / (ALPHA / RANK * RANK**0.5)  # an update of a fifth of the weights
            hf_base[f"{hf}.weight"] = weights
            matrices[f"base_model.model.{hf}.lora_A.weight"] = down
            matrices[f"base_model.model.{hf}.lora_B.weight"] = up
            heads = HEADS if short == "attn_q" else 0
            rounding = 0.09 * 0.05 * random.standard_normal((SIZE, SIZE), dtype=np.float32)
            made.base[name] = permuted(weights, heads)
            made.rounding[name] = rounding
            made.update[name] = permuted(ALPHA / RANK * up @ down, heads)
    for name in ("base", "adapter"):
        (made.folder / name).mkdir()
    save_file(hf_base, made.folder / "base" / "model.safetensors")
    save_file(matrices, made.folder / "adapter" / "adapter_model.safetensors")
    configure(made)
    write(made.folder / "own-f16.gguf", made.merged(), GGMLQuantizationType.F16)
    return made


def configure(made: Trained, **more) -> None:
    config = {"r": RANK, "lora_alpha": ALPHA, **more}
    (made.folder / "adapter" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def permuted(weights, heads):
    """Rows in llama.cpp's order of the rotary embedding: of each head, both halves interleaved."""
    if not heads:
        return weights
    return weights.reshape(heads, 2, len(weights) // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def wrong(findings):
    return {finding.check: finding.stage for finding in findings if not finding.ok}


# --- quantisations that are right -----------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_quantisation_is_right_by_the_yardstick_of_its_own_type(kind, trained):
    file, other = trained.file(trained.merged(), kind), trained.file(trained.merged(), "Q4_K")
    for quantised in (None, other):  # what our own export was quantised to is no matter
        assert wrong(trained.compare(file, quantised)) == {}
        strength = trained.fit(file, quantised)
        assert strength.right, strength


@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize("kind", ["Q4_K", "IQ4_XS", "Q2_K"])
def test_a_quantisation_by_an_importance_matrix_is_right(kind, spread, trained):
    importance = np.exp(spread * np.random.default_rng(1).standard_normal(SIZE))
    for said in ((), ("quantize.imatrix.file",)):
        file = trained.file(trained.merged(), kind, importance, *said)
        assert wrong(trained.compare(file)) == {}
        assert trained.fit(file).right


@pytest.mark.parametrize("kind", ["IQ2_XXS"])
def test_a_type_that_needs_an_importance_matrix_is_judged_by_its_peers(kind, trained):
    weights = trained.merged()
    file = trained.file(weights, kind, np.ones(SIZE))
    found = trained.compare(file)
    assert wrong(found) == {}
    assert any("by its peers" in finding.expected for finding in found)
    assert trained.fit(file).right
    weights["blk.1.ffn_up.weight"] = weights["blk.1.ffn_up.weight"][::-1]
    assert wrong(trained.compare(trained.file(weights, kind, np.ones(SIZE)))) == {
        "blk.1.ffn_up.weight": CONVERSION
    }


# --- merges that are wrong ------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["F16", "Q4_K", "IQ4_XS", "Q3_K"])
@pytest.mark.parametrize("factor", [0.0, 0.8, 0.9, 1.1, 1.2, 2.0])
def test_an_adapter_of_another_strength_is_the_merges_fault(factor, kind, trained):
    strength = trained.fit(trained.file(trained.merged(adapter=factor), kind))
    assert not strength.right, strength
    assert strength.adapter - strength.expected[0] == pytest.approx(factor - 1, abs=0.05)


@pytest.mark.parametrize("kind", ["F16", "Q4_K"])
@pytest.mark.parametrize("factor", [0.0, 0.8])
def test_a_merge_into_another_base_than_the_trained_one_is_the_merges_fault(factor, kind, trained):
    strength = trained.fit(trained.file(trained.merged(rounding=factor), kind))
    assert not strength.right, strength
    assert max(strength.off) == pytest.approx(1 - factor, abs=0.1)


def test_one_kind_of_module_that_was_not_merged_is_the_merges_fault(trained):
    weights = trained.merged()
    values_only = {n: weights[n] - trained.update[n] for n in weights if "attn_v" in n}
    found = wrong(trained.compare(trained.file(weights | values_only, "Q4_K")))
    assert found == dict.fromkeys(values_only, MERGE)


def test_a_single_tensor_without_its_update_is_the_merges_fault_and_an_unrelated_one_the_conversions(trained):
    weights, name = trained.merged(), "blk.1.ffn_up.weight"
    for tensor, stage in {
        "without": (weights[name] - trained.update[name], MERGE),
        "from the base": (trained.base[name], MERGE),
        "zeros": (np.zeros_like(weights[name]), CONVERSION),
        "turned": (weights[name][::-1], CONVERSION),
        "transposed": (weights[name].T, CONVERSION),
    }.values():
        assert wrong(trained.compare(trained.file(weights | {name: tensor}, "Q4_K"))) == {name: stage}


def test_an_update_that_was_transposed_is_the_merges_fault(trained):
    weights = trained.merged()
    turned = {n: weights[n] - trained.update[n] + trained.update[n].T for n in weights if "attn_out" in n}
    assert wrong(trained.compare(trained.file(weights | turned, "Q4_K"))) == dict.fromkeys(turned, MERGE)


def test_where_only_updated_tensors_are_wrong_their_errors_tell_rounding_from_merging(trained, monkeypatch):
    # In a model of twelve tensors four are many already.
    monkeypatch.setattr("seatrial.evals.fidelity.blame.MANY", 0.5)
    weights, generator = trained.merged(), np.random.default_rng(1)
    some = [name for name in weights if "attn_v" in name or "attn_q" in name]
    assert len(some) > SEVERAL
    # As rounding to three bits before does it: an error along nothing.
    noise = {n: 1 + 0.2 * generator.standard_normal(weights[n].shape).astype(np.float32) for n in some}
    rough = {name: weights[name] * noise[name] for name in some}
    assert set(wrong(trained.compare(trained.file(weights | rough, "Q4_K"))).values()) == {QUANTISATION}
    bare = {name: weights[name] - trained.update[name] for name in some}
    assert set(wrong(trained.compare(trained.file(weights | bare, "Q4_K"))).values()) == {MERGE}
    # Assigned instead of added: along the update there is next to nothing, but no rounding is so coarse.
    assigned = {name: trained.update[name] for name in some}
    assert set(wrong(trained.compare(trained.file(weights | assigned, "Q4_K"))).values()) == {MERGE}


def pruned(update, keep):
    return np.where(abs(update) >= np.quantile(abs(update), 1 - keep), update, 0)


def dropped(update, share):
    """What is left is made larger, so that on average nothing is lost (DARE, arXiv:2311.03099)."""
    kept = np.random.default_rng(2).random(update.shape) >= share
    return update * kept / (1 - share)


# Done to each update. Most leave the adapter as strong as it was, or are too small a part of it to show there.
UPDATES = {
    "small ones pruned": lambda update: pruned(update, 0.5),
    "dropped at random": lambda update: dropped(update, 0.5),
    "clipped": lambda update: np.clip(update, -update.std(), update.std()),
    "averaged with the base": lambda update: update / 2,
    "of another adapter": lambda update: np.roll(update, 7, axis=0),
}


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
@pytest.mark.parametrize("change", UPDATES)
def test_errors_that_follow_the_updates_are_the_merges_fault_however_many_they_are(change, kind, trained):
    weights = trained.merged()
    for name, update in trained.update.items():
        weights[name] = weights[name] - update + UPDATES[change](update).astype(np.float32)
    found = trained.compare(trained.file(weights, kind))
    assert wrong(found) == dict.fromkeys(trained.update, MERGE)


@pytest.mark.parametrize("first", ["Q4_0", "Q3_K"])
def test_errors_of_a_rounding_that_came_before_are_the_quantisations_fault(first, trained):
    rough = trained.merged()
    for name in trained.update:
        rough[name] = rounded(rough[name], GGMLQuantizationType[first])
    found = wrong(trained.compare(trained.file(rough, "Q8_0")))
    assert found == dict.fromkeys(trained.update, QUANTISATION)


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
@pytest.mark.parametrize("factor", [0.9, 0.5, 1.5])
def test_a_single_module_of_another_strength_is_the_merges_fault(factor, kind, trained):
    weights, name = trained.merged(), "blk.1.ffn_up.weight"
    weights[name] += (factor - 1) * trained.update[name]
    assert wrong(trained.compare(trained.file(weights, kind))) == {name: MERGE}


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2])
def test_a_module_that_is_off_in_all_layers_is_found_where_rounding_hides_it_in_each(factor, trained):
    weights = trained.merged()
    module = [name for name in weights if "attn_output" in name]
    for name in module:
        weights[name] += (factor - 1) * trained.update[name]
    found = trained.compare(trained.file(weights, "Q2_K"))
    assert wrong(found) == dict.fromkeys(module, MERGE)
    told = {each.check: each.found for each in found}
    if factor > 0.5:  # where it is a half, each tensor shows it, too
        assert told[module[0]] == f"the updates of attn_output.weight are in it {factor:.2f} times"


def test_an_update_of_zeros_is_in_it_however_often(trained):
    own, file = trained.folder / "own-f16.gguf", trained.file(trained.merged(), "Q4_K")
    added = {each.name: replace(each, scale=0) for each in updates(trained.folder / "adapter", own)}
    assert wrong(compare(file, own, None, added)) == {}


def test_a_cut_of_the_rank_that_rounding_nearly_hides_is_the_merges_fault(trained):
    """A little of one update is lacking, the part of its last singular values."""
    weights, name = trained.merged(), "blk.1.ffn_up.weight"
    left, sizes, right = np.linalg.svd(trained.update[name])
    weights[name] -= sizes[RANK - 1] * np.outer(left[:, RANK - 1], right[RANK - 1])
    assert wrong(trained.compare(trained.file(weights, "Q8_0"))) == {name: MERGE}


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_K"])
def test_a_merge_in_bfloat16_is_right(kind, trained):
    def short(numbers):
        packed = quants.quantize(numbers.astype(np.float32), GGMLQuantizationType.BF16)
        return quants.dequantize(packed, GGMLQuantizationType.BF16)

    weights = trained.merged(adapter=0.0)
    for name, update in trained.update.items():
        weights[name] = short(short(weights[name]) + short(update))
    assert wrong(trained.compare(trained.file(weights, kind))) == {}


def unpermuted(weights, heads):
    """Rows in transformers' order again."""
    return weights.reshape(heads, len(weights) // heads // 2, 2, -1).swapaxes(1, 2).reshape(weights.shape)


@pytest.mark.parametrize("kind", ["F16", "Q4_K"])
def test_rows_that_the_conversion_left_in_their_order_are_its_fault_and_not_the_merges(kind, trained):
    weights = trained.merged()
    some = [name for name in weights if "attn_q" in name or "attn_v" in name]
    for name in some:
        weights[name] = unpermuted(weights[name], HEADS)
    file = trained.file(weights, kind)
    found = trained.compare(file)
    assert len(some) > SEVERAL and wrong(found) == dict.fromkeys(some, CONVERSION)
    moved = {finding.check for finding in found if finding.found.endswith(ELSEWHERE)}
    assert moved == set(some)
    folders = trained.folder / "adapter", trained.folder / "base"
    own = trained.folder / "own-f16.gguf"
    assert fit(file, own, None, *folders, moved=moved).right
    assert not fit(file, own, None, *folders).right


def test_tensors_that_changed_places_are_the_conversions_fault_and_not_the_merges(trained):
    weights, some = trained.merged(), ["blk.0.ffn_up.weight", "blk.0.attn_output.weight"]
    weights[some[0]], weights[some[1]] = weights[some[1]], weights[some[0]]
    found = trained.compare(trained.file(weights, "Q8_0"))
    assert wrong(found) == dict.fromkeys(some, CONVERSION)
    assert {finding.check for finding in found if finding.found.endswith(ELSEWHERE)} == set(some)


def test_a_tied_head_is_judged_by_its_values(trained):
    random = np.random.default_rng(11)
    embeddings, other = 0.05 * random.standard_normal((2, SIZE, SIZE), dtype=np.float32)
    weights = trained.merged() | {"token_embd.weight": embeddings}
    own = trained.file(weights, "F16")
    for head, found in ((embeddings, {}), (other, {"output.weight": CONVERSION})):
        written_out = trained.file(weights | {"output.weight": head}, "Q8_0")
        assert wrong(compare(written_out, own, None, {})) == found


def test_norms_are_the_conversions_fault_however_many_they_are(trained, monkeypatch):
    monkeypatch.setattr("seatrial.evals.fidelity.blame.MANY", 0.1)
    norms = {name: numbers + 1 for name, numbers in trained.rest.items()}  # Gemma's are kept without their 1
    assert len(norms) > 0.1 * len(trained.merged())
    assert wrong(trained.compare(trained.file(trained.merged() | norms, "Q8_0"))) == dict.fromkeys(
        norms, CONVERSION
    )


def test_a_tensor_that_is_a_little_off_everywhere_is_no_damaged_file(trained):
    weights = trained.merged()
    for name, factor in {"blk.1.attn_norm.weight": 1.01, "blk.1.ffn_up.weight": 1.004}.items():
        changed = weights | {name: weights[name] * factor}
        assert wrong(trained.compare(trained.file(changed, "F16"))) == {name: CONVERSION}


@pytest.mark.parametrize(("kind", "bit"), [("F16", 10), ("F16", 13), ("F16", 15), ("BF16", 7), ("BF16", 15)])
def test_a_single_flipped_bit_is_a_damaged_file(kind, bit, trained):
    name, file = "blk.1.ffn_up.weight", trained.file(trained.merged(), kind)
    data = bytearray(file.read_bytes())
    place = next(t.data_offset for t in open_gguf(file).tensors if t.name == name) + 2 * SIZE * 9
    largest = int(np.argmax(abs(trained.merged()[name][9])))
    data[place + 2 * largest + bit // 8] ^= 1 << bit % 8
    flipped = trained.folder / f"flipped-{kind}-{bit}.gguf"
    flipped.write_bytes(data)
    assert wrong(trained.compare(flipped)) == {name: FILE}


def test_updates_that_went_to_the_next_layer_are_the_merges_fault(trained):
    weights = trained.merged()
    for name, update in trained.update.items():
        layer = int(name.split(".")[1])
        other = name.replace(f"blk.{layer}.", f"blk.{(layer + 1) % LAYERS}.")
        weights[other] = weights[other] - trained.update[other] + update
    assert not trained.fit(trained.file(weights, "Q4_K")).right


def test_a_few_rows_that_differ_are_a_damaged_file(trained):
    weights = trained.merged()
    weights["blk.1.ffn_up.weight"][3] *= -1
    assert wrong(trained.compare(trained.file(weights, "Q4_K"))) == {"blk.1.ffn_up.weight": FILE}


def test_a_file_with_none_of_the_trained_tensors_is_one_finding(trained):
    weights = {f"other.{name}": numbers for name, numbers in trained.merged().items()}
    (finding,) = trained.compare(trained.file(weights, "F16"))
    assert (finding.check, finding.ok) == ("all tensors", False)


# --- kinds of adapters ----------------------------------------------------------------------------------
def test_a_base_that_training_did_not_round_has_no_rounding_to_find(trained):
    weights = trained.merged(rounding=0.0)
    own = trained.folder / "unrounded-f16.gguf"
    write(own, weights, GGMLQuantizationType.F16)
    file = trained.file(weights, "Q4_K")
    strength = fit(file, own, None, trained.folder / "adapter", trained.folder / "base")
    assert strength.rounding is None
    assert strength.right, strength
    stronger = trained.file(trained.merged(adapter=1.1, rounding=0.0), "Q4_K")
    assert not fit(stronger, own, None, trained.folder / "adapter", trained.folder / "base").right


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"use_rslora": True}, RANK**0.5),
        ({"lora_alpha": 2 * ALPHA}, 2.0),
        ({"lora_alpha": 1, "alpha_pattern": {"layers.1.mlp.up_proj": 3 * ALPHA}}, 3.0),
    ],
)
def test_the_scale_of_an_update_is_that_of_its_configuration(settings, factor, trained):
    try:
        configure(trained, **settings)
        own = trained.folder / "own-f16.gguf"
        found = {each.name: each.values() for each in updates(trained.folder / "adapter", own)}
        name = "blk.1.ffn_up.weight"
        assert np.allclose(found[name], factor * trained.update[name], atol=1e-6)
        configure(trained, use_dora=True)
        assert list(updates(trained.folder / "adapter", own)) == []
        assert trained.fit(own) is None
    finally:
        configure(trained)


def test_what_is_packed_is_what_is_read(trained):
    file = trained.file(trained.merged(), "Q8_0")
    name = "blk.0.attn_q.weight"
    assert np.allclose(values(tensors(file)[name]), trained.merged()[name], atol=2e-3)
    assert len(open_gguf(file).tensors) == LAYERS * (len(MODULES) + 1)


# --- the step -------------------------------------------------------------------------------------------
def given(path: Path) -> Artifact:
    """A file, or a folder, as an artifact."""
    folder, names = (path, []) if path.is_dir() else (path.parent / f"of-{path.name}", [path.name])
    folder.mkdir(exist_ok=True)
    for name in names:
        if not (folder / name).exists():
            (folder / name).hardlink_to(path)
    files = {name: {"sha256": file_digest(folder / name)} for name in names}
    return Artifact(folder, {"key": path.name, "files": files, "facts": {}})


def test_the_step_tells_findings_and_strength(trained, tmp_path):
    own = given(trained.folder / "own-f16.gguf")
    parts = own, None, given(trained.folder / "adapter"), given(trained.folder / "base")
    for factor, right in ((1.0, True), (1.2, False)):
        file = trained.file(trained.merged(adapter=factor), "Q4_0")
        built = Store(tmp_path).build(of_file(file, file_digest(file), *parts)).read_json("weights.json")
        assert len(built["findings"]) == LAYERS * (len(MODULES) + 1)
        assert Strength(**built["strength"]).right == right
        assert built["unread"] == ""


def test_our_own_file_is_not_compared_with_itself(trained, tmp_path):
    file = trained.folder / "own-f16.gguf"
    step = of_file(file, file_digest(file), given(file), None, None, None)
    (finding,) = Store(tmp_path).build(step).read_json("weights.json")["findings"]
    assert finding["found"] == "the same file, byte for byte"


# --- whose fault it is where both are off ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("stage", "explained", "rounded"),
    [(QUANTISATION, 0.0007, True), (QUANTISATION, 0.05, False), (MERGE, 0.0007, False)],
)
def test_a_coarse_rounding_that_shrinks_the_update_is_no_merge(stage, explained, rounded):
    findings = [Finding("a", stage, "near", "far", False), Finding("b", CONVERSION, "near", "near", True)]
    strength = Strength(0.965, 0.965, 70, (1.007, 0.986), (0.0005, 0.0001), 0.022, explained)
    assert not strength.right
    assert _rounded_more(findings, strength) is rounded


def test_how_much_a_wrong_adapter_explains_is_told_from_rounding(trained):
    assert trained.fit(trained.file(trained.merged(adapter=2.0), "Q4_K")).explained > 10 * EXPLAINED
    weights, generator = trained.merged(), np.random.default_rng(1)
    rough = {
        name: tensor * (1 + 0.2 * generator.standard_normal(tensor.shape)).astype(np.float32)
        for name, tensor in weights.items()
        if tensor.ndim == 2
    }
    assert trained.fit(trained.file(weights | rough, "Q4_K")).explained < EXPLAINED

"""What a GGUF file says about itself, against the trained model's configuration and our own export of it.

Only headers are read, so this is the cheapest check, and the one that names most faults exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity.findings import Finding as Finding
from seatrial.evals.fidelity.header import (
    ALIGNED,
    EMBEDDINGS,
    HEAD,
    LABEL,
    NAME,
    PADDING,
    Header,
    as_jinja_reads,
    read_header,
)
from seatrial.evals.fidelity.stages import CONVERSION, FILE, QUANTISATION, TEMPLATE, TOKENIZER
from seatrial.evals.verdict import shorten
from seatrial.training.errors import SeatrialError

# Hugging Face model_type -> llama.cpp architecture, where it is not the same name without its underscores.
ARCHITECTURES = {"mistral": "llama", "mixtral": "llama"}
NO_TENSOR: tuple[tuple[int, ...] | None, str | None] = (None, None)
# GGUF key after the architecture -> key of config.json (Hugging Face).
SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}


def compare(
    path: Path,
    config_folder: Path,
    tokenizer: Mapping[str, Any],
    f16: Path,
    quantised: Path | None,
) -> list[Finding]:
    """All findings on the file at ``path``, right and wrong ones.

    Args:
        config_folder: the trained model's folder (config.json, chat_template.jinja).
        tokenizer: the training tokenizer's ``eos``, ``bos``, ``pad`` ids and chat ``template``.
        f16: our own F16 export of the trained model; ``quantised``: our own quantisation of it to the type
            that the file is labelled with, None if there is none.
    """
    try:
        file = read_header(path)
    except SeatrialError as error:
        return [Finding("readable", FILE, "a whole GGUF file", error.problem, False)]
    reference = read_header(f16)
    config = json.loads((config_folder / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    findings = [*_against_config(file, reference, config, tokenizer), *_against_export(file, reference)]
    findings += _tensors(file, reference, read_header(quantised) if quantised else None)
    return findings


def _against_config(
    file: Header, reference: Header, config: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> Iterator[Finding]:
    """What config.json says; a key that our own export leaves out, too, is one that this family implies."""
    kind = str(config.get("model_type"))
    named = ARCHITECTURES.get(kind, kind.removesuffix("_text").replace("_", ""))
    yield _equal("architecture", CONVERSION, named, file.architecture)
    for key, name in SIZES.items():
        if config.get(name) is not None and reference.get(key) is not None:
            yield _equal(key, CONVERSION, config[name], file.get(key))
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", config.get("rope_theta"))
    if theta is not None and reference.get("rope.freq_base") is not None:
        yield _equal("rope.freq_base", CONVERSION, theta, file.get("rope.freq_base"))
    if (scaling := rope.get("rope_type", rope.get("type", "default"))) == "llama3":
        found = "rope_freqs.weight" if "rope_freqs.weight" in file.tensors else None
        yield _equal("rope scaling (llama3)", CONVERSION, "rope_freqs.weight", found)
    elif scaling in ("linear", "yarn"):
        yield _equal("rope.scaling.type", CONVERSION, scaling, file.get("rope.scaling.type"))
        yield _equal("rope.scaling.factor", CONVERSION, rope.get("factor"), file.get("rope.scaling.factor"))
    for name in ("eos", "bos", "pad"):
        expected, key = tokenizer[name], {"pad": "padding"}.get(name, name)
        found = file.fields.get(f"tokenizer.ggml.{key}_token_id")
        if expected is not None and not (name == "eos" and found in tokenizer["ends"]):
            if name == "eos" or found is not None:  # files may leave BOS and padding unsaid
                yield _equal(f"{name} token id", TOKENIZER, expected, found)
    template = tokenizer["template"] and as_jinja_reads(tokenizer["template"])
    yield _equal("chat template", TEMPLATE, template, file.said("tokenizer.chat_template"))


def _against_export(file: Header, reference: Header) -> Iterator[Finding]:
    """Every key that a runtime may read, whichever of the two headers says it."""
    if file.names_that_count != reference.names_that_count:
        yield _equal(NAME, TOKENIZER, reference.fields.get(NAME), file.fields.get(NAME))
    for key in sorted({*file.fields, *reference.fields}):
        if not (file.reads(key) or reference.reads(key)):
            continue
        expected, found = reference.said(key), file.said(key)
        if found is None and key == PADDING:  # no runtime pads a prompt
            continue
        finding = _equal(key, _stage_of(key), expected, found)
        if file.spare(key) and reference.spare(key):
            finding = replace(finding, ok=True)
        silent, said = (file, expected) if found is None else (reference, found)
        if not finding.ok and None in (expected, found) and _means(silent, key, said):
            finding = replace(finding, ok=True)
        yield _kind(key, file, reference, finding) if key in file.fields else finding


def _kind(key: str, file: Header, reference: Header, finding: Finding) -> Finding:
    """The finding on a value that the file says, or that its kind is not the one as which it is read."""
    said = reference.kinds.get(key) or reference.kind_read(key, file.fields[key])
    if not finding.ok or said in (None, file.kinds[key]):
        return finding
    return replace(finding, expected=str(said), found=file.kinds[key], ok=False)


def _means(silent: Header, key: str, said: Any) -> bool:
    """Whether a header that leaves ``key`` out says the same as one with the value ``said``."""
    return any(_equal(key, "", value, said).ok for value in silent.unsaid(key) if value is not None)


def _stage_of(key: str) -> str:
    if key.startswith("tokenizer.chat_template"):
        return TEMPLATE
    return TOKENIZER if key.startswith("tokenizer.") else CONVERSION


def _tensors(file: Header, reference: Header, quantised: Header | None) -> Iterator[Finding]:
    expected = dict(reference.tensors)
    # Another converter may write the head of tied weights out; that it holds the embeddings is seen there.
    written_out = HEAD in file.tensors and HEAD not in expected and EMBEDDINGS in expected
    if written_out:
        expected[HEAD] = expected[EMBEDDINGS]
    yield _equal("number of tensors", CONVERSION, len(expected), len(file.tensors))
    if file.data % ALIGNED:
        yield _equal(
            "place of the tensors", CONVERSION, f"a multiple of {ALIGNED} bytes", f"byte {file.data}"
        )
    for name in sorted({*file.tensors, *expected}):
        (shape, kind), (found_shape, found) = (each.get(name, NO_TENSOR) for each in (expected, file.tensors))
        if shape != found_shape:
            yield _equal(f"shape of {name}", CONVERSION, shape, found_shape)
        elif kind != found and len(shape or ()) == 1:  # no runtime computes with a norm that was rounded
            yield _equal(f"type of {name}", QUANTISATION, kind, found)
    if quantised is None:
        return
    for name, (shape, kind) in quantised.tensors.items():
        # Embeddings that are no head are kept coarser: those of the two kinds are heads in ``quantised``.
        found = file.tensors.get(HEAD if written_out and name == EMBEDDINGS else name, NO_TENSOR)[1]
        if found is not None and found != kind and len(shape or ()) > 1:
            # A finer type, as by --output-tensor-type, loses nothing. With an importance matrix llama.cpp
            # mixes types in its own way, which no plain file shows: its cost is for the divergence to say.
            right = bits_per_weight(found) > bits_per_weight(kind) or file.by_importance
            yield Finding(f"type of {name}", QUANTISATION, kind, found, right)
    yield _equal("quantisation label", QUANTISATION, quantised.fields.get(LABEL), file.fields.get(LABEL))


def bits_per_weight(kind: str) -> float:
    """Bits per weight of a tensor type by its name, such as 4.5 for ``Q4_K``."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return 8 * int(size) / int(weights)


def _equal(check: str, stage: str, expected: Any, found: Any) -> Finding:
    if isinstance(expected, float) and isinstance(found, float):
        same = abs(expected - found) <= 1e-6 * abs(expected)  # GGUF keeps 32-bit floats
    elif isinstance(expected, int | float) and isinstance(found, int | float):
        same = float(expected) == float(found)
    else:
        same = expected == found
    if isinstance(expected, list) and isinstance(found, list) and not same:
        return Finding(check, stage, *_first_difference(expected, found), False)
    return Finding(check, stage, _show(expected), _show(found), same)


def _first_difference(expected: list[Any], found: list[Any]) -> tuple[str, str]:
    if len(expected) != len(found):
        return f"{len(expected)} entries", f"{len(found)} entries"
    places = [i for i, (one, two) in enumerate(zip(expected, found, strict=True)) if one != two]
    first = places[0]
    return f"{expected[first]!r} at {first}", f"{found[first]!r} ({len(places)} entries differ)"


def _show(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries"
    return "nothing" if value is None else shorten(str(value))

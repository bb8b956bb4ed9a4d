"""Harmless changes: artefacts that are not our own export and are right. The gate must not refuse one.

Each is a function under ``@harmless``, deterministic, that writes below ``out`` only, as a fault does. What the
gate may say of it is SHIP, or NOT EVALUATED with a reason; never FAIL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFValueType

from tests.sabotage.faults import Make
from tests.sabotage.gguf_edit import Gguf, Value
from tests.sabotage.workshop import (
    Artefact,
    Good,
    edited,
    edited_before_quantisation,
    exported,
    merged_by_hand,
    quantised_as,
    run,
    scratch,
)


@dataclass(frozen=True)
class Harmless:
    """A change that leaves the model what it is; ``why``: how it comes about in practice.

    ``requantised``: another type of quantisation, right in itself, by which some answers change; by a finer
    one, too, where the good file's rounding happens to avoid a wrong answer. What those cost is told as the
    loss that it is; that the file is not the model that was trained must not be said.
    """

    name: str
    why: str
    make: Make
    requantised: bool = False


HARMLESS: dict[str, Harmless] = {}


def harmless(why: str, requantised: bool = False) -> Callable[[Make], Make]:
    """Puts a function into the table, under its own name with hyphens."""

    def enter(make: Make) -> Make:
        name = make.__name__.replace("_", "-")
        assert name not in HARMLESS
        HARMLESS[name] = Harmless(name, why, make, requantised)
        return make

    return enter


# --- in the header ---------------------------------------------------------------------------------------
@harmless("Another converter leaves the padding token unsaid: no runtime pads a prompt.")
def padding_token_unsaid(good: Good, out: Path) -> Artefact:
    return edited(good, out, lambda content: _without(content, "tokenizer.ggml.padding_token_id"))


@harmless("Names and authors are what each publisher writes.")
def other_names_and_authors(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.say("general.name", "assistant of ours")
        content.say("general.author", "somebody")
        content.say("general.license", "other")
        content.say("company.build", "4711")

    return edited(good, out, change)


@harmless("Another writer puts the tensors in another order.")
def tensors_reordered(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.tensors = dict(reversed(content.tensors.items()))

    return edited(good, out, change)


@harmless("Tensors are aligned to pages, for a runtime that maps them.")
def tensors_aligned_to_pages(good: Good, out: Path) -> Artefact:
    return edited(good, out, lambda content: content.say("general.alignment", 4096))


@harmless("A newer converter says what an older one leaves to the default.")
def defaults_said(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        architecture = content["general.architecture"]
        content.say(f"{architecture}.rope.scaling.type", "none")
        content.say(f"{architecture}.rope.scaling.factor", 1.0)
        content.say(f"{architecture}.attention.causal", True)
        content.say(f"{architecture}.expert_count", 0)
        content.say("tokenizer.ggml.add_eos_token", False)
        content.say("tokenizer.ggml.add_space_prefix", False)
        content.say("tokenizer.ggml.eot_token_id", content["tokenizer.ggml.eos_token_id"])

    return edited(good, out, change)


@harmless("Converters of 2023 wrote scores for byte-pair vocabularies, too; those are joined by rank.")
def scores_for_byte_pairs(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.say("tokenizer.ggml.scores", [-1000.0] * len(content["tokenizer.ggml.tokens"]))

    return edited(good, out, change)


@harmless("No byte-pair vocabulary has unknown tokens, so another converter leaves theirs unsaid.")
def unknown_token_unsaid(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.metadata.pop("tokenizer.ggml.unknown_token_id", None)

    return edited(good, out, change)


@harmless("An importance matrix was counted in 64 bits, and notes are of all kinds: nobody reads either.")
def notes_of_any_kind(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.say("general.quantization_version", 2, "UINT64")
        content.say("general.note", float("nan"))
        content.say("company.weights", [0.5, 1.5], "FLOAT64")
        content.say("split.no", 0, "UINT64")

    return edited(good, out, change)


@harmless("Scales that other families have are said to be those that this one has without them.")
def scales_said(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        architecture = content["general.architecture"]
        head = content[f"{architecture}.embedding_length"] // content[f"{architecture}.attention.head_count"]
        content.say(f"{architecture}.attention.scale", head**-0.5)
        content.say(f"{architecture}.logit_scale", 1.0)
        content.say(f"{architecture}.embedding_scale", 1.0)
        content.say(f"{architecture}.attention.clamp_kqv", 0.0)
        content.say(f"{architecture}.tensor_data_layout", "Meta AI original pth")

    return edited(good, out, change)


@harmless("The chat template is written a second time, as the one for tools; the end of a turn, as a list.")
def template_and_end_said_twice(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.say("tokenizer.chat_template.tool_use", content["tokenizer.chat_template"])
        content.say("tokenizer.ggml.eos_token_ids", [content["tokenizer.ggml.eos_token_id"]], "INT32")

    return edited(good, out, change)


@harmless("An editor ended the template's last line, and another one its lines as Windows does.")
def template_with_other_line_ends(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        template = content["tokenizer.chat_template"]
        content["tokenizer.chat_template"] = template.replace("\n", "\r\n") + "\n"

    return edited(good, out, change)


@harmless("A download left the blocks that it had reserved behind the last tensor.")
def bytes_after_the_last_tensor(good: Good, out: Path) -> Artefact:
    path = out / good.gguf.name
    path.write_bytes(good.gguf.read_bytes() + bytes(4096))
    return good.artefact.but(gguf=path)


@harmless("The base has a second chat template, under a name that only who asks for it gets.")
def another_template_by_name(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.metadata["tokenizer.chat_templates"] = Value(
            ["rag"], GGUFValueType.ARRAY, GGUFValueType.STRING
        )
        content.say("tokenizer.chat_template.rag", "{{ documents }}")

    return edited(good, out, change)


# --- in the quantisation ---------------------------------------------------------------------------------
def _quantisation(kind: str, why: str) -> None:
    # Under the good file's name, which is the one that its Modelfile serves.
    def make(good: Good, out: Path) -> Artefact:
        return good.artefact.but(gguf=quantised_as(good.f16, kind, out / good.gguf.name, out))

    make.__name__ = f"quantised_as_{kind}"
    harmless(why, requantised=True)(make)


_quantisation("iq4_xs", "Smaller than Q4_K_M at the same divergence; made without an importance matrix.")
_quantisation("iq4_nl", "The same with blocks of 32.")
_quantisation("q8_0", "More room on the machine.")
_quantisation("q5_0", "A type that older runtimes read.")
_quantisation("bf16", "Not quantised, for a GPU.")


@harmless("The model was converted to 32 bits and quantised from there.")
def quantised_from_f32(good: Good, out: Path) -> Artefact:
    with scratch(out) as folder:
        run(
            "quantize_as",
            out,
            module="tests.sabotage.job",
            type="f32",
            model=good.f16,
            out=folder / "f32.gguf",
        )
        return good.artefact.but(gguf=quantised_as(folder / "f32.gguf", "q4_k_m", out / good.gguf.name, out))


@harmless("--output-tensor-type q8_0: the embeddings, which are the head, too, are kept finer than usual.")
def head_kept_finer(good: Good, out: Path) -> Artefact:
    target = out / good.gguf.name
    return good.artefact.but(gguf=quantised_as(good.f16, "q4_k_m", target, out, output="Q8_0"))


@harmless("Another converter writes the head of tied weights out, which llama.cpp then takes for the head.")
def tied_head_written_out(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.tensors["output.weight"] = content.tensors["token_embd.weight"]

    return edited_before_quantisation(good, out, change)


# --- in the merge ----------------------------------------------------------------------------------------
@harmless("The merge was made by a script of one's own, and is right.")
def merged_by_another_script(good: Good, out: Path) -> Artefact:
    return merged_by_hand(good, out, "none")


@harmless("The sum was made in float16.")
def merged_in_float16(good: Good, out: Path) -> Artefact:
    return merged_by_hand(good, out, "float16")


@harmless("The sum was made in bfloat16.")
def merged_in_bfloat16(good: Good, out: Path) -> Artefact:
    return merged_by_hand(good, out, "bfloat16")


@harmless("The merged folder was saved in bfloat16, and is given as --hf-model; the file was made of it.")
def merged_folder_in_bfloat16(good: Good, out: Path) -> Artefact:
    folder = out / "merged-bfloat16"
    run("save_as", out, module="tests.sabotage.job", model=good.hf_model, out=folder, dtype="bfloat16")
    return exported(good, folder, out).but(hf_model=folder)


def _without(content: Gguf, key: str) -> None:
    del content.metadata[key]

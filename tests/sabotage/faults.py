"""The faults: a table of small functions, each of which makes a faulty artefact of a good one.

A new fault is one function under ``@fault``. It is deterministic, writes below ``out`` only, and hands back
what the gate is given. Its ``stage`` is where the fault was put in and what the gate must name; ``also`` are
stages that the gate may name instead, because nothing in the artefact tells the two apart.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import LlamaFileType
from safetensors import safe_open

from seatrial.evals.fidelity.stages import STAGES
from seatrial.evals.models import Question
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.training.store import file_digest
from tests.sabotage import gguf_edit
from tests.sabotage.gguf_edit import Gguf
from tests.sabotage.task import change_task, questions_of
from tests.sabotage.workshop import (
    Artefact,
    Good,
    edited,
    edited_before_quantisation,
    exported,
    merged,
    merged_wrongly,
    quantised_as,
    rescaled_adapter,
    scratch,
    with_modelfile,
)

Make = Callable[[Good, Path], Artefact]


@dataclass(frozen=True)
class Fault:
    """One way in which an artefact can be wrong.

    Args:
        why: how it happens in practice.
        also: stages that may be named instead of ``stage``.
        control: makes what the fault was put into, where that is not the good artefact itself.
        mended: the gate need not refuse: it must find the damage, build the good state again and say so.
    """

    name: str
    stage: str
    why: str
    make: Make
    also: tuple[str, ...] = ()
    control: Make | None = None
    mended: bool = False

    @property
    def accepted(self) -> tuple[str, ...]:
        """The stages of which the gate must name at least one."""
        return (self.stage, *self.also)


FAULTS: dict[str, Fault] = {}


def fault(
    stage: str, why: str, also: tuple[str, ...] = (), control: Make | None = None, mended: bool = False
) -> Callable[[Make], Make]:
    """Puts a function into the table, under its own name with hyphens."""
    assert {stage, *also} <= set(STAGES)

    def enter(make: Make) -> Make:
        name = make.__name__.replace("_", "-")
        assert name not in FAULTS
        FAULTS[name] = Fault(name, stage, why, make, also, control, mended)
        return make

    return enter


# --- data ------------------------------------------------------------------------------------------------
@fault(
    "data", "Rows were written from the cases that a model had missed, and went into the next training set."
)
def training_set_leaked(good: Good, out: Path) -> Artefact:
    return good.artefact.but(task=_with_leak(good, out, lambda prompt: prompt))


@fault("data", "A generator paraphrased the cases: a word more or less, other case, other punctuation.")
def training_set_leaked_reworded(good: Good, out: Path) -> Artefact:
    return good.artefact.but(
        task=_with_leak(good, out, lambda prompt: f"{prompt.rstrip('.?! ').upper()} now")
    )


# --- merge -----------------------------------------------------------------------------------------------
@fault("merge", "The export script was given the base's folder instead of the merged one.")
def adapter_dropped(good: Good, out: Path) -> Artefact:
    return exported(good, good.base, out)


@fault("merge", "A notebook cell that merges was run twice on the model in memory.")
def adapter_merged_twice(good: Good, out: Path) -> Artefact:
    return merged_wrongly(good, out, "merge_twice")


@fault("merge", "As before, and the folder that the file is compared with is what that merge wrote.")
def adapter_merged_twice_and_so_the_folder(good: Good, out: Path) -> Artefact:
    folder = out / "merged-twice"
    return merged_wrongly(good, out, "merge_twice", keep=folder).but(hf_model=folder)


@fault("merge", "The whole merge step ran a second time, on its own output.")
def merge_step_ran_twice(good: Good, out: Path) -> Artefact:
    """Rounding the merged model to 4 bits takes most of the first adapter away, so this is hardly seen."""
    return merged(good, out, base=good.hf_model)


@fault("merge", "alpha was taken for the scale instead of alpha / rank, or read from another recipe.")
def alpha_doubled(good: Good, out: Path) -> Artefact:
    return _with_alpha(good, out, 2.0)


@fault("merge", "A recipe was edited after the training, and the merge read the recipe.")
def alpha_halved(good: Good, out: Path) -> Artefact:
    return _with_alpha(good, out, 0.5)


@fault("merge", "The QLoRA adapter was merged into the original weights, not into those it was trained on.")
def merged_into_16_bit_base(good: Good, out: Path) -> Artefact:
    return merged_wrongly(good, out, "merge_into_16_bit")


@fault("merge", "merge_and_unload() was called on the model as it was loaded for training.")
def merged_into_4_bit_model(good: Good, out: Path) -> Artefact:
    return merged_wrongly(good, out, "merge_into_4_bit")


@fault(
    "merge",
    "The merge matched module names by a pattern that one layer does not follow.",
)
def tensor_from_base(good: Good, out: Path) -> Artefact:
    with safe_open(good.base / "model.safetensors", "np") as weights:
        untuned = weights.get_tensor("model.layers.12.mlp.down_proj.weight")
    return _with_tensor(good, out, "blk.12.ffn_down.weight", lambda tuned: untuned)


@fault("merge", "A build step copied the file that lay there, and it was last month's.", also=("file",))
def older_file(good: Good, out: Path) -> Artefact:
    return good.artefact.but(gguf=_other_file(good, out))


# --- conversion ------------------------------------------------------------------------------------------
@fault("conversion", "A converter that does not know the config's key fell back to the default of 10,000.")
def rope_base_changed(good: Good, out: Path) -> Artefact:
    return _with_metadata(good, out, "llama.rope.freq_base", 10_000.0)


def _rope_scaling(good: Good, out: Path) -> Artefact:
    """The good model with Llama 3.1's rope scaling, which hardly changes prompts of some hundred tokens."""
    model = out / "with-rope-scaling"
    model.mkdir()
    for path in good.hf_model.iterdir():
        (model / path.name).symlink_to(path)
    config = json.loads((good.hf_model / "config.json").read_text(encoding="utf-8"))
    trained_for = config["max_position_embeddings"]
    config["rope_parameters"] |= {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": trained_for,
    }
    config["max_position_embeddings"] = 8 * trained_for
    (model / "config.json").unlink()
    (model / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return exported(good, model, out).but(hf_model=model)


@fault(
    "conversion", "Reloading a Llama 3.1 GGUF in transformers and exporting it again.", control=_rope_scaling
)
def rope_scaling_dropped(good: Good, out: Path) -> Artefact:
    whole = _rope_scaling(good, out)
    content = gguf_edit.read(whole.gguf)
    del content.tensors["rope_freqs.weight"]
    with scratch(out) as folder:
        gguf_edit.write(content, folder / "new.gguf").replace(whole.gguf)
    return whole


@fault("conversion", "The config was built anew, with the architecture's default of 1e-6.")
def norm_epsilon_changed(good: Good, out: Path) -> Artefact:
    return _with_metadata(good, out, "llama.attention.layer_norm_rms_epsilon", 1e-6)


@fault("conversion", "Someone raised max_position_embeddings in config.json to get longer answers.")
def context_length_wrong(good: Good, out: Path) -> Artefact:
    return _with_metadata(good, out, "llama.context_length", 131_072)


@fault("conversion", "A tensor that a converter's name map lacks was left as it was allocated.")
def tensor_zeroed(good: Good, out: Path) -> Artefact:
    return _with_tensor(good, out, "blk.12.attn_output.weight", np.zeros_like)


@fault(
    "conversion", "A converter for weights kept as (in, out) transposed a square one, which no shape betrays."
)
def tensor_transposed(good: Good, out: Path) -> Artefact:
    return _with_tensor(good, out, "blk.20.attn_output.weight", np.transpose)


# --- tokenizer -------------------------------------------------------------------------------------------
@fault("tokenizer", "The base's end-of-text token was left in place when the chat tokens were added.")
def eos_wrong(good: Good, out: Path) -> Artefact:
    return _with_metadata(good, out, "tokenizer.ggml.eos_token_id", 0)


@fault("tokenizer", "tokenizer_config.json was not among the files that were copied before the conversion.")
def eos_missing(good: Good, out: Path) -> Artefact:
    return _without_metadata(good, out, "tokenizer.ggml.eos_token_id")


@fault("tokenizer", "transformers' tokenizer class for Llama adds BOS unless it is told not to.")
def bos_added(good: Good, out: Path) -> Artefact:
    return _with_metadata(good, out, "tokenizer.ggml.add_bos_token", True)


@fault(
    "tokenizer", "An old converter did not know the tokenizer and wrote 'default', which llama.cpp accepts."
)
def pre_tokenizer_wrong(good: Good, out: Path) -> Artefact:
    """A quarter of the cases become other tokens; by 'gpt-2' none would, as this vocabulary pairs no digits."""
    return _with_metadata(good, out, "tokenizer.ggml.pre", "default")


@fault("tokenizer", "Chat tokens were added as ordinary ones, so the template's marks are cut to pieces.")
def turn_token_not_special(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        kinds = list(content["tokenizer.ggml.token_type"])
        kinds[content["tokenizer.ggml.tokens"].index("<|im_start|>")] = 1  # NORMAL instead of CONTROL
        content["tokenizer.ggml.token_type"] = kinds

    return edited(good, out, change)


@fault("tokenizer", "Vocabulary and weights came from two revisions, in which two words changed places.")
def vocabulary_swapped(good: Good, out: Path) -> Artefact:
    """Both words are in the cases. Swapped in and swapped out again, they leave most answers as they were."""
    return _with_swapped_tokens(good, out, "Ġtomorrow", "ĠFriday")


@fault("tokenizer", "As before, with two words that no case asks for.")
def vocabulary_swapped_unasked(good: Good, out: Path) -> Artefact:
    return _with_swapped_tokens(good, out, "Ġexfol", "ectable")


# --- template --------------------------------------------------------------------------------------------
TEMPLATE = "tokenizer.chat_template"
LLAMA_3 = """\
{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>

' + message['content'] + '<|eot_id|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %}"""


@fault("template", "The tokenizer was saved by a version that keeps the template in a file of its own.")
def template_missing(good: Good, out: Path) -> Artefact:
    return _without_metadata(good, out, TEMPLATE)


@fault("template", "The template of another family was set to make a trainer's warning go away.")
def template_wrong(good: Good, out: Path) -> Artefact:
    return _with_metadata(good, out, TEMPLATE, LLAMA_3)


@fault("template", "A template was written for training, where the answer follows by itself.")
def generation_prompt_missing(good: Good, out: Path) -> Artefact:
    def without(template: str) -> str:
        return template.partition("{% if add_generation_prompt %}")[0]

    return _with_template(good, out, without)


@fault(
    "template",
    "The template was cut down to the loop over messages; the product sends a system prompt anyway.",
)
def default_system_prompt_dropped(good: Good, out: Path) -> Artefact:
    def without(template: str) -> str:
        start, _, rest = template.partition("{% if loop.first")
        return start + rest.partition("{% endif %}")[2]

    return _with_template(good, out, without)


@fault("template", "An editor or a YAML block stripped white space from the template.")
def template_newline_lost(good: Good, out: Path) -> Artefact:
    return _with_template(
        good, out, lambda template: template.replace(" + '<|im_end|>' + '\n'", " + '<|im_end|>'")
    )


@fault("template", "The Modelfile is the one that Ollama writes when it is given none.")
def modelfile_template_is_the_prompt(good: Good, out: Path) -> Artefact:
    def change(text: str) -> str:
        start, _, rest = text.partition('TEMPLATE """')
        return f'{start}TEMPLATE """{{{{ .Prompt }}}}"""{rest.partition(chr(34) * 3)[2]}'

    return with_modelfile(good, out, change)


@fault("template", "The Modelfile was written by hand from the model's card.", also=("runtime",))
def modelfile_without_stop(good: Good, out: Path) -> Artefact:
    return with_modelfile(good, out, lambda text: _without_lines(text, "PARAMETER stop"))


@fault(
    "template",
    "The system prompt was kept in the application, which one of two callers uses.",
    also=("runtime",),
)
def modelfile_without_system(good: Good, out: Path) -> Artefact:
    return with_modelfile(good, out, lambda text: _without_lines(text, "SYSTEM"))


# --- quantisation ----------------------------------------------------------------------------------------
@fault(
    "quantisation",
    "The F16 file was gone, so the smaller file at hand was quantised with --allow-requantize.",
)
def quantised_twice(good: Good, out: Path) -> Artefact:
    with scratch(out) as folder:
        quantised_as(good.f16, "q3_k_m", folder / "first.gguf", out)
        target = out / good.gguf.name
        return good.artefact.but(gguf=quantised_as(folder / "first.gguf", "q4_k_m", target, out))


@fault("quantisation", "A smaller file was needed in a hurry; name and label were not to change.")
def q2_k_labelled_q4_k_m(good: Good, out: Path) -> Artefact:
    with scratch(out) as folder:
        content = gguf_edit.read(quantised_as(good.f16, "q2_k", folder / "small.gguf", out))
        content["general.file_type"] = int(LlamaFileType.MOSTLY_Q4_K_M)
        return good.artefact.but(gguf=gguf_edit.write(content, out / good.gguf.name))


# --- file ------------------------------------------------------------------------------------------------
@fault("file", "A download or a copy was cut off, and nobody compared digests.")
def file_truncated(good: Good, out: Path) -> Artefact:
    with good.gguf.open("rb") as file:
        return _with_bytes(good, out, file.read(good.gguf.stat().st_size * 9 // 10))


@fault("file", "A bad disk or memory module: 512 bytes of one tensor are inverted.", also=("quantisation",))
def bytes_flipped(good: Good, out: Path) -> Artefact:
    data = bytearray(good.gguf.read_bytes())
    start = _middle_of(good.gguf, "blk.15.ffn_up.weight")
    data[start : start + 512] = bytes(byte ^ 0xFF for byte in data[start : start + 512])
    return _with_bytes(good, out, data)


@fault("file", "A page that was never written: 4096 zeros in the middle of a tensor.", also=("quantisation",))
def page_lost(good: Good, out: Path) -> Artefact:
    data = bytearray(good.gguf.read_bytes())
    start = _middle_of(good.gguf, "blk.15.ffn_up.weight") // 4096 * 4096
    data[start : start + 4096] = bytes(4096)
    return _with_bytes(good, out, data)


# --- runtime ---------------------------------------------------------------------------------------------
@fault("runtime", "Answers were copied between stores to save an hour of CPU time.", mended=True)
def answers_cached_from_another_file(good: Good, out: Path) -> Artefact:
    other = _other_file(good, out)
    return good.artefact.but(prepare_store=lambda store: _exchange_answers(good, other, store))


# --- what several faults need ----------------------------------------------------------------------------
def _with_metadata(good: Good, out: Path, key: str, value: object) -> Artefact:
    def change(content: Gguf) -> None:
        assert content[key] != value, f"{key} is {value!r} already"
        content[key] = value

    return edited(good, out, change)


def _without_metadata(good: Good, out: Path, key: str) -> Artefact:
    def change(content: Gguf) -> None:
        del content.metadata[key]

    return edited(good, out, change)


def _with_template(good: Good, out: Path, change: Callable[[str], str]) -> Artefact:
    template = gguf_edit.read(good.gguf)[TEMPLATE]
    return _with_metadata(good, out, TEMPLATE, change(template))


def _with_swapped_tokens(good: Good, out: Path, first: str, second: str) -> Artefact:
    def change(content: Gguf) -> None:
        tokens = content["tokenizer.ggml.tokens"]
        content.swap("tokenizer.ggml.tokens", tokens.index(first), tokens.index(second))

    return edited(good, out, change)


def _with_tensor(good: Good, out: Path, tensor: str, how: Callable[[np.ndarray], np.ndarray]) -> Artefact:
    return edited_before_quantisation(good, out, lambda content: content.change(tensor, how))


def _with_bytes(good: Good, out: Path, data: bytes) -> Artefact:
    path = out / good.gguf.name
    path.write_bytes(data)
    return good.artefact.but(gguf=path)


def _middle_of(path: Path, tensor: str) -> int:
    place = gguf_edit.place_of(path, tensor)
    return place[len(place) // 2]


def _without_lines(text: str, start: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(start))


def _with_alpha(good: Good, out: Path, factor: float) -> Artefact:
    with scratch(out) as folder:
        return merged(good, out, adapter=rescaled_adapter(good, folder, factor))


def _other_file(good: Good, out: Path) -> Path:
    """Another run's file under our name; where there is none, the adapter at 0.8 of its strength stands in."""
    if good.older is None:
        return _with_alpha(good, out, 0.8).gguf
    return Path(shutil.copy(good.older, out / good.gguf.name))


def _with_leak(good: Good, out: Path, reword: Callable[[str], str]) -> Path:
    """The task with the domain questions among its training rows."""

    def change(task: dict) -> None:
        rows = Path(task["train"]).read_text(encoding="utf-8").rstrip("\n")
        train = out / "train.jsonl"
        train.write_text("\n".join([rows, *leaked]) + "\n", encoding="utf-8")
        task["train"] = str(train)

    leaked = [_row(reword(case["prompt"]), case["expect"]) for case in questions_of(good.task, "domain")]
    return change_task(good.task, out / "task", change)


def _row(prompt: str, expect: dict) -> str:
    answer = {"operation": expect["operation"], "arguments": expect.get("arguments", {}), "reply": "Done."}
    turns = [{"from": "human", "value": prompt}, {"from": "gpt", "value": json.dumps(answer)}]
    return json.dumps({"conversations": turns}, ensure_ascii=False)


def _exchange_answers(good: Good, other: Path, store: Path) -> None:
    """Put the answers of ``other`` where the store keeps those of the good file. Whoever corrects the
    digests in the manifests, too, is not found: a store is trusted as far as its owner is.
    """
    digest, exchanged = file_digest(good.gguf), 0
    for path in sorted(store.glob("generations/*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        params = manifest["params"]
        if params["model"].get("file_sha256") != digest:
            continue
        settings = {name: params["model"][name] for name in ("system", "context", "slots")}
        model = LlamaCppModel("other", other, file_digest(other), **settings)
        questions = [Question(str(i), tuple(messages)) for i, (messages, _) in enumerate(params["asked"])]
        answers = model.generate(questions, params["max_tokens"], store / "logs" / "sabotage.log")
        rows = path.parent / "rows.json"
        before = rows.read_text(encoding="utf-8")
        text = json.dumps([answer.to_json() for answer in answers], ensure_ascii=False, indent=0)
        assert _texts(text) != _texts(before), "the other file answers in the same words"
        rows.unlink()  # never write into what may be a hard link
        rows.write_text(text, encoding="utf-8")
        exchanged += 1
    assert exchanged, "the store holds no answers of this file"


def _texts(rows: str) -> list[str]:
    return [row["text"] for row in json.loads(rows)]

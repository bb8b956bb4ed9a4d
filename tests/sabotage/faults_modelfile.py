"""Faults of the Modelfile: the file is the good one, and what is served is not what was judged.

Entries of the same table as ``faults.py``. ``tests/test_modelfile.py`` has the same faults without a model.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.sabotage.faults import fault
from tests.sabotage.workshop import Artefact, Good, with_modelfile


def _with_line(good: Good, out: Path, line: str) -> Artefact:
    """One more line at the end, where the last of several wins."""
    return with_modelfile(good, out, lambda text: f"{text}{line}\n")


def _replaced(good: Good, out: Path, old: str, new: str) -> Artefact:
    def change(text: str) -> str:
        assert old in text, f"the good Modelfile says no {old!r}"
        return text.replace(old, new, 1)

    return with_modelfile(good, out, change)


# --- what answers ------------------------------------------------------------------------------------------
@fault("runtime", "The Modelfile of the larger file was copied, and its first line was not changed.")
def modelfile_from_another_file(good: Good, out: Path) -> Artefact:
    shutil.copyfile(good.base_gguf, out / "base.gguf")
    return _replaced(good, out, f"FROM ./{good.gguf.name}", "FROM ./base.gguf")


@fault("runtime", "The Modelfile was tried out with a model of the registry before the file was there.")
def modelfile_from_a_registry(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, f"FROM ./{good.gguf.name}", "FROM smollm2:135m")


@fault("runtime", "The folder that the file lay in was named instead of the file.")
def modelfile_from_a_folder(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, f"FROM ./{good.gguf.name}", "FROM .")


@fault("runtime", "A line was added for the new file, and the old one stayed.")
def modelfile_from_twice(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "FROM smollm2:135m")


@fault("runtime", "The adapter was still to be applied by Ollama, though it had been merged already.")
def modelfile_with_adapter(good: Good, out: Path) -> Artefact:
    shutil.copytree(good.adapter, out / "adapter")
    return _with_line(good, out, "ADAPTER ./adapter")


@fault("runtime", "PARAMETER model looks like a parameter, and Ollama takes it for FROM.")
def modelfile_parameter_model(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER model smollm2:135m")


@fault(
    "runtime",
    "A path was put together by a script; last month's file of the same name lies beside the Modelfile.",
)
def modelfile_from_by_a_detour(good: Good, out: Path) -> Artefact:
    shutil.copyfile(good.base_gguf, out / good.gguf.name)
    return _replaced(good, out, f"FROM ./{good.gguf.name}", f"FROM build/../{good.gguf.name}")


@fault("runtime", "It was made for an Ollama that is not out yet: this one creates it without a word.")
def modelfile_requires_a_newer_ollama(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "REQUIRES 99.0.0")


# --- what it is asked --------------------------------------------------------------------------------------
@fault("runtime", "Examples for a bare base model were left in the Modelfile: they open every conversation.")
def modelfile_with_messages(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "MESSAGE user Is it sunny?\nMESSAGE assistant No: it rains.")


@fault("template", "A second system prompt was added for an experiment, and the last one wins.")
def modelfile_system_twice(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "system You are a pirate.")


@fault("template", "Copied from another project, in small letters, which Ollama reads as well.")
def modelfile_template_in_small_letters(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "template {{ .Prompt }}")


@fault("template", "A renderer of another family was named, which takes TEMPLATE's place.")
def modelfile_with_renderer(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "RENDERER qwen3-coder")


@fault("template", "Somebody wrapped the system prompt to fit the editor.")
def modelfile_system_wrapped(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, "Answer with", "Answer\nwith")


@fault("template", "Saved on Windows: the line ends inside the template's quotes are part of every prompt.")
def modelfile_line_ends_of_windows(good: Good, out: Path) -> Artefact:
    artefact = good.artefact.but(modelfile=out / "Modelfile")
    artefact.modelfile.write_bytes(good.modelfile.read_text(encoding="utf-8").replace("\n", "\r\n").encode())
    return artefact


@fault(
    "template", "The template was put on lines of its own, so that every prompt begins with an empty line."
)
def modelfile_template_on_its_own_lines(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, 'TEMPLATE """', 'TEMPLATE """\n')


@fault("template", "An older template, of one question, whose place for the system prompt was left out.")
def modelfile_template_without_system(good: Good, out: Path) -> Artefact:
    turn = "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n"
    return _with_line(good, out, f'TEMPLATE """{turn}"""')


@fault("template", "An {{ end }} was lost when the template was edited: Ollama makes no model of it.")
def modelfile_template_without_its_end(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, "{{ end }}", "")


@fault("template", "The quotes of the licence were not closed: it goes on to the end of the template.")
def modelfile_licence_swallows_the_template(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, "TEMPLATE", 'LICENSE """\nApache-2.0\nTEMPLATE')


# --- how it answers ----------------------------------------------------------------------------------------
@fault("runtime", "A demo was to be more creative.")
def modelfile_temperature(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, "PARAMETER temperature 0", "PARAMETER temperature 1.5")


@fault("runtime", "The line was commented out for a try; Ollama's default is 0.8.")
def modelfile_temperature_commented_out(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, "PARAMETER temperature", "# PARAMETER temperature")


@fault("runtime", "A small context was set on a small machine: prompts lose their beginning.")
def modelfile_num_ctx(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER num_ctx 64")


@fault("runtime", "As much context as there is, it was meant; Ollama counts over and takes four tokens.")
def modelfile_num_ctx_beyond_counting(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER num_ctx 9223372036854775807")


@fault("runtime", "Zero was to mean: decide yourself. The runner ends with every question.")
def modelfile_num_batch_zero(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER num_batch 0")


@fault("runtime", "A limit for a health check: answers end after four tokens.")
def modelfile_num_predict(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER num_predict 4")


@fault("runtime", "Against loops, says the internet; it punishes what an answer has to repeat.")
def modelfile_repeat_penalty(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER repeat_penalty 1.3")


@fault("runtime", "The line seemed to say nothing; without it Ollama's 1.1 applies.")
def modelfile_repeat_penalty_unsaid(good: Good, out: Path) -> Artefact:
    return _replaced(good, out, "PARAMETER repeat_penalty 1.0\n", "")


@fault("runtime", "An answer is one JSON object, so it seemed clever to stop at its end.")
def modelfile_stop_at_brace(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, 'PARAMETER stop "}"')


@fault("runtime", "Typical sampling may remove the likeliest token even at temperature 0.")
def modelfile_typical_p(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER typical_p 0.2")


# --- what nobody can serve ---------------------------------------------------------------------------------
@fault("runtime", "A parameter of an older Ollama: a newer one refuses the whole Modelfile.")
def modelfile_unknown_parameter(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "PARAMETER tfs_z 1")


@fault("runtime", "A quote was lost, so the last value never ends.")
def modelfile_open_quote(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, 'SYSTEM """You are')


@fault("runtime", "A comment behind a value in quotes: the quotes are open again, and never end.")
def modelfile_comment_behind_quotes(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, 'LICENSE """Apache-2.0""" # as the base')


@fault("runtime", "A template of Docker's: ENTRYPOINT is no instruction of Ollama's.")
def modelfile_unknown_instruction(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "ENTRYPOINT serve")

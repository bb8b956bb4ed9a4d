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


@fault("runtime", "A template of Docker's: ENTRYPOINT is no instruction of Ollama's.")
def modelfile_unknown_instruction(good: Good, out: Path) -> Artefact:
    return _with_line(good, out, "ENTRYPOINT serve")

"""Changes of the Modelfile after which the same answers are served: the gate must not turn red on them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.sabotage.harmless import harmless
from tests.sabotage.workshop import Artefact, Good, with_modelfile


def _with_lines(good: Good, out: Path, lines: str) -> Artefact:
    return with_modelfile(good, out, lambda text: f"{text}{lines}\n")


@harmless("A teammate explained the settings in comments and put blank lines between them.")
def modelfile_comments(good: Good, out: Path) -> Artefact:
    return with_modelfile(
        good,
        out,
        lambda text: "# Task API\n\n" + text.replace("PARAMETER temp", "\n  # greedy\nPARAMETER temp"),
    )


@harmless("Single lines need one pair of quotes, or none.")
def modelfile_other_quotes(good: Good, out: Path) -> Artefact:
    def change(text: str) -> str:
        start, _, rest = text.partition('SYSTEM """')
        prompt, _, rest = rest.partition('"""')
        return f'{start}SYSTEM "{prompt}"{rest}'.replace('stop "<|im_end|>"', "stop <|im_end|>")

    return with_modelfile(good, out, change)


@harmless("Instructions in small letters are the same instructions.")
def modelfile_small_letters(good: Good, out: Path) -> Artefact:
    return with_modelfile(
        good, out, lambda text: text.replace("PARAMETER", "parameter").replace("FROM", "from")
    )


@harmless("An editor on Windows ended lines with CR LF; the template inside its quotes is kept.")
def modelfile_line_ends(good: Good, out: Path) -> Artefact:
    def change(text: str) -> str:
        start, _, rest = text.partition('TEMPLATE """')
        template, _, rest = rest.partition('"""')
        return "".join(
            [start.replace("\n", "\r\n"), f'TEMPLATE """{template}"""', rest.replace("\n", "\r\n")]
        )

    artefact = with_modelfile(good, out, change)
    artefact.modelfile.write_bytes(change(good.modelfile.read_text(encoding="utf-8")).encode())
    return artefact


@harmless("How a file is read and computed on this machine changes no answer.")
def modelfile_runner(good: Good, out: Path) -> Artefact:
    return _with_lines(good, out, "PARAMETER use_mmap true\nPARAMETER num_thread 2\nPARAMETER num_gpu 0")


@harmless("Samplers that greedy decoding never asks, as a model card recommends them.")
def modelfile_unused_samplers(good: Good, out: Path) -> Artefact:
    lines = ("top_k 40", "top_p 0.9", "min_p 0.05", "seed 42", "repeat_last_n 64")
    return _with_lines(good, out, "\n".join(f"PARAMETER {line}" for line in lines))


@harmless("Kept where a conversation outgrows the context, which none that is judged does.")
def modelfile_num_keep(good: Good, out: Path) -> Artefact:
    return _with_lines(good, out, "PARAMETER num_keep 24")


@harmless("The licence that the weights have.")
def modelfile_licence(good: Good, out: Path) -> Artefact:
    return _with_lines(good, out, 'LICENSE """\nApache-2.0\nPARAMETER temperature 1\n"""\nREQUIRES 0.14.0')


@harmless("More context than was judged with: nothing that was judged is cut.")
def modelfile_more_context(good: Good, out: Path) -> Artefact:
    def double(said: re.Match[str]) -> str:
        return f"num_ctx {2 * int(said[1])}"

    return with_modelfile(good, out, lambda text: re.sub(r"num_ctx (\d+)", double, text))


@harmless("A stop string that is a control token of the vocabulary, which no answer's text holds.")
def modelfile_stop_at_control_token(good: Good, out: Path) -> Artefact:
    return _with_lines(good, out, "PARAMETER stop <|endoftext|>")


@harmless("The file lies beside the Modelfile under another name.")
def modelfile_from_a_copy(good: Good, out: Path) -> Artefact:
    shutil.copyfile(good.gguf, out / "model.gguf")
    return with_modelfile(good, out, lambda text: text.replace(f"./{good.gguf.name}", "model.gguf"))


@harmless("The template was explained in a comment and laid out; trim markers take the blanks away.")
def modelfile_template_laid_out(good: Good, out: Path) -> Artefact:
    layout = 'TEMPLATE """{{- /* turn by turn */ -}}\n\n{{- range .Messages }}'
    return with_modelfile(good, out, lambda text: text.replace('TEMPLATE """{{ range .Messages }}', layout))


@harmless("Saved by an editor that writes UTF-16, and says so with a byte order mark.")
def modelfile_in_utf_16(good: Good, out: Path) -> Artefact:
    artefact = good.artefact.but(modelfile=out / "Modelfile")
    artefact.modelfile.write_bytes(good.modelfile.read_text(encoding="utf-8").encode("utf-16"))
    return artefact


@harmless("Instructions in columns, parted by tabs.")
def modelfile_tabs(good: Good, out: Path) -> Artefact:
    return with_modelfile(
        good, out, lambda text: re.sub(r"(?m)^(FROM|SYSTEM|PARAMETER) (\w+ )?", _with_tabs, text)
    )


def _with_tabs(said: re.Match[str]) -> str:
    return said[0].replace(" ", "\t")


@harmless("All layers on a GPU that this machine has not, as a model card for a larger one says.")
def modelfile_more_layers_than_there_are(good: Good, out: Path) -> Artefact:
    return _with_lines(good, out, "PARAMETER num_gpu 999\nPARAMETER num_batch 64")

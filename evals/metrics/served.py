"""Metric of the Modelfile: does every instruction in it leave the judged answers as they are?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.fidelity.metadata import Finding
from seatrial.evals.fidelity.served import Judged, judge_modelfile, refused
from seatrial.evals.metrics.base import Metric, Score, counted, register
from seatrial.evals.metrics.scores import score_of
from seatrial.evals.modelfiles.parser import READ_AS, read_text
from seatrial.evals.models import Message, calls_tools
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.chat_formats import chat_format, template_in
from seatrial.training.errors import SeatrialError
from seatrial.training.gguf_file import open_gguf
from seatrial.training.modelfile import read_metadata

CONTROL = 3  # of tokenizer.ggml.token_type: a token that no text holds
WRITTEN_HERE = "no Modelfile was given: the one that was judged was written here; serve the file with it"


def _modelfile(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    built = evidence.built
    if built.shipped is None or built.shipped_file is None:
        raise NotEvaluated("a program was judged, not a file")
    evidence.use(built.shipped)
    judged = _judged(evidence)
    note = WRITTEN_HERE if built.modelfile is None and built.shipped.manifest["step"] == "given-file" else ""
    if note and chat_format(judged.template) is None:
        raise NotEvaluated(
            "no Modelfile was given, and none can be written for a chat format that is not known here: "
            "give the one that is served with --modelfile=FILE"
        )
    judgement = judge_modelfile(read_text(built.shipped.path / "Modelfile"), judged)
    findings = list(judgement.findings)
    if judgement.unsure and all(finding.ok for finding in findings):
        findings += _rendered(evidence, judgement.unsure)
    return [score_of(finding, "what is served is not what was judged", note) for finding in findings]


def _rendered(evidence: Evidence, why: str) -> list[Finding]:
    from seatrial.evals.models.ollama import OllamaRefuses

    try:
        evidence.model("ollama")  # says why there is none
        return evidence.chain.served_prompts()
    except NotEvaluated as missing:
        raise NotEvaluated(f"{why}: {missing}") from None
    except OllamaRefuses as error:  # such as a TEMPLATE that is no Go template
        return [refused(error.problem)]


def _judged(evidence: Evidence) -> Judged:
    built, task = evidence.built, evidence.task
    assert built.shipped and built.shipped_file
    metadata, control_tokens = _of_file(built.shipped_file)
    architecture = str(metadata.get("general.architecture"))
    trained_for = metadata.get(f"{architecture}.context_length")
    contexts = [task.decoding.context, *([trained_for] if isinstance(trained_for, int) else [])]
    template = template_in(built.merged.path) if built.merged else None
    conversations = [case.question.messages for cases in evidence.cases.values() for case in cases]
    return Judged(
        system=task.prompts.system,
        max_tokens=task.decoding.max_tokens,
        context=min(contexts),  # no runtime gives a model more than it was trained for
        file=built.shipped_file,
        sha256=str(built.shipped_sha256),
        folder=built.modelfile_folder or built.shipped.path,
        template=template or str(metadata.get("tokenizer.chat_template") or ""),
        control_tokens=control_tokens,
        architecture=architecture,
        merged=any(map(_merged, conversations)),
        ollama=getattr(evidence.models.get("ollama"), "version", READ_AS),
        tools=any(map(calls_tools, conversations)),
    )


def _merged(messages: Sequence[Message]) -> bool:
    roles = [message["role"] for message in messages]
    return any(one == two != "tool" for one, two in pairwise(roles))


@cache
def _of_file(path: Path) -> tuple[dict[str, Any], frozenset[str]]:
    """Metadata and control tokens."""
    try:
        fields = open_gguf(path).fields
        names, kinds = (fields.get(f"tokenizer.ggml.{what}") for what in ("tokens", "token_type"))
        pairs = zip(names.contents(), kinds.contents(), strict=False) if names and kinds else ()
        return read_metadata(path), frozenset(name for name, kind in pairs if kind == CONTROL)
    except (SeatrialError, ValueError, IndexError, KeyError, OSError) as error:
        raise NotEvaluated(f"the file's header cannot be read, so its format is not known: {error}") from None


modelfile_parity = register(
    Metric(
        "modelfile_parity",
        "Share of the Modelfile's instructions that leave the judged answers as they are",
        "share",
        "higher",
        _modelfile,
        counted,
        needs_cases=False,
        of="file",
    )
)

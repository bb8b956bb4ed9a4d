"""The tensors of a GGUF file against our own export of the trained model, and against the adapter.

Two questions: is every tensor as close to the trained one as its quantisation allows (``yardstick``), and was
the adapter merged once, into the weights that it was trained on (``strength``)? One step answers both, in a
process of its own: ``python -m seatrial.evals.fidelity.weights``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity.blame import ELSEWHERE, Compared, blamed
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.header import EMBEDDINGS, HEAD, IMATRIX
from seatrial.evals.fidelity.parts import Update, updates
from seatrial.evals.fidelity.stages import CONVERSION, FILE
from seatrial.evals.fidelity.strength import Strength, fit
from seatrial.evals.fidelity.tensor_errors import error_of, judge, medians_of
from seatrial.evals.fidelity.tensors import gguf_of, shape, tensors
from seatrial.evals.provenance import decided_by
from seatrial.training.base_model import held_as
from seatrial.training.gguf_file import open_gguf
from seatrial.training.memory import peaks
from seatrial.training.process import JsonProcess, serve
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step

PACKAGES = (
    "gguf",
    "llama-cpp-python",
    "numpy",
    "safetensors",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
)
SILENCE = 1800.0  # seconds without a sign of life after which the process is taken for hung


def of_file(
    file: Path,
    file_sha256: str,
    f16: Artifact,
    quantised: Artifact | None,
    adapter: Artifact | None,
    base: Artifact | None,
    given: bool = False,
) -> Step:
    """The step whose ``weights.json`` holds ``findings`` by tensor, the adapter's ``strength`` (or null), and
    in ``unread`` why there are none; ``merge`` is the adapter's strength in ``f16``, where the merged model
    was ``given`` beside the adapter and its base."""
    inputs = {"file": file_sha256, "f16": f16.digest}
    for name, artifact in (("quantised", quantised), ("adapter", adapter), ("base", base)):
        if artifact:
            inputs[name] = artifact.digest
    held = held_as(adapter) if adapter and base else None

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        request: dict[str, Any] = {"file": str(file), "f16": str(gguf_of(f16)), "out": str(out)}
        request |= {"quantised": str(gguf_of(quantised)) if quantised else None, "given": given, "held": held}
        request |= {
            "adapter": str(adapter.path) if adapter else None,
            "base": str(base.path) if base else None,
        }
        request["same"] = any(file_sha256 in _digests(own) for own in (f16, quantised) if own)
        log = out.parent.parent / "logs" / f"weights-{out.name}.log"
        with JsonProcess("seatrial.evals.fidelity.weights", log, "the weights of the file") as process:
            facts: Mapping[str, Any] = process.call(request, SILENCE, lambda event: progress.update(**event))
        return facts

    params = decided_by(__name__, packages=PACKAGES) | {"held": held, "given": given}
    return Step("weights", 3, params, inputs, build, title=f"weights of {file.name}")


def _digests(artifact: Artifact) -> set[str]:
    return {entry["sha256"] for entry in artifact.manifest["files"].values()}


# --- the process ----------------------------------------------------------------------------------------
def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Compare the files of a request; writes ``weights.json``. One tensor at a time is held."""
    findings: list[Finding] = []
    found: dict[str, Any] = {"strength": None, "merge": None, "unread": ""}
    file, f16 = Path(request["file"]), Path(request["f16"])
    own, adapter, base = (_path(request.get(name)) for name in ("quantised", "adapter", "base"))
    try:
        if request["same"]:
            findings = [Finding("all tensors", FILE, "our own export", "the same file, byte for byte", True)]
        else:
            added = {each.name: each for each in updates(adapter, f16)} if adapter else {}
            findings = compare(file, f16, own, added)
        if adapter:
            moved = {finding.check for finding in findings if finding.found.endswith(ELSEWHERE)}
            found["strength"] = fit(file, f16, own, adapter, base, request["held"], moved)
        if adapter and base and request["given"]:
            found["merge"] = fit(f16, f16, None, adapter, base, request["held"])
    except NotImplementedError as error:  # a type that the gguf package cannot unpack
        findings, found["unread"] = [], str(error)
    told = {name: asdict(value) if isinstance(value, Strength) else value for name, value in found.items()}
    told["findings"] = [asdict(finding) for finding in findings]
    Path(request["out"], "weights.json").write_text(json.dumps(told), encoding="utf-8")
    return {"tensors": len(findings)} | peaks()


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def compare(file: Path, f16: Path, quantised: Path | None, added: Mapping[str, Update]) -> list[Finding]:
    """One finding a tensor. Tensors of another shape are left to :mod:`seatrial.evals.fidelity.metadata`.

    Stages are those that :mod:`seatrial.evals.fidelity.blame` names; where the adapter's strength is wrong as
    well, the chain puts all of them down to the merge.
    """
    found, trained, own = tensors(file), tensors(f16), tensors(quantised) if quantised else {}
    if HEAD in found and HEAD not in trained:  # written out, where ours are tied
        for each in (trained, own):
            each |= {HEAD: each[EMBEDDINGS]} if EMBEDDINGS in each else {}
    shared = [name for name in found if name in trained and shape(found[name]) == shape(trained[name])]
    if not shared:
        return [Finding("all tensors", CONVERSION, f"{len(trained)} tensors", "none of them", False)]
    errors = {name: error_of(found[name], trained[name], own.get(name), added.get(name)) for name in shared}
    imatrix = any(key.startswith(IMATRIX) for key in open_gguf(file).fields)
    medians = medians_of(errors.values())
    judged = {name: judge(name, error, imatrix, medians) for name, error in errors.items()}
    return blamed(judged, Compared(found, trained, own, added, errors))


if __name__ == "__main__":
    serve(handle)

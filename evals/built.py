"""What training and export left, or what was given in their place: the artifacts that are judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seatrial.training.recipe import Recipe
from seatrial.training.store import Artifact


@dataclass(frozen=True)
class Built:
    """What training and export left: any part may be missing when a model was made elsewhere.

    ``files`` are GGUF files by quantisation, ``f16`` our own export of ``merged``, ``reference`` our own
    quantisation of it to the type that the shipped file is labelled with: what the file should be.
    ``sft``: the adapter as fine-tuning left it, where a stage on pairs of answers made ``adapter`` of it.
    ``modelfile`` is the Modelfile that was given, None for one that was written here.
    ``unread``: why the trained model cannot be read on this machine, "" where it can.
    ``chain`` holds every artifact from base weights to GGUF files, in the order they were built.
    """

    shipped: Artifact | None = None
    base: Artifact | None = None
    adapter: Artifact | None = None
    sft: Artifact | None = None
    merged: Artifact | None = None
    f16: Artifact | None = None
    reference: Artifact | None = None
    files: Mapping[str, Artifact] = field(default_factory=dict)
    chain: tuple[Artifact, ...] = ()
    recipe: Recipe | None = None
    modelfile: Path | None = None
    unread: str = ""

    @property
    def shipped_file(self) -> Path | None:
        """The GGUF file that the verdict is about."""
        if self.shipped is None:
            return None
        names: Iterable[str] = self.shipped.manifest["files"]
        return self.shipped.path / next(name for name in names if name.endswith(".gguf"))

    @property
    def modelfile_folder(self) -> Path | None:
        """Where the Modelfile lies, from which its FROM is resolved."""
        if self.modelfile is not None:
            return self.modelfile.parent
        return self.shipped.path if self.shipped else None

    @property
    def shipped_sha256(self) -> str | None:
        path = self.shipped_file
        return self.shipped.manifest["files"][path.name]["sha256"] if self.shipped and path else None

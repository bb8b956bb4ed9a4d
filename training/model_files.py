"""Which files of a folder or repository are the model: its weights once, its configuration, its tokenizer.

Repositories hold the same weights in several formats (safetensors, PyTorch, Flax, ONNX, a vendor's own),
gigabytes each. What ``transformers`` would load is taken, by its own order of preference, and nothing else.
An index decides which shards belong together, so a shard that an older upload left behind is not taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from seatrial.training.errors import SeatrialError

SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
WHOLE_OR_INDEX = (SAFE, SAFE_INDEX, PICKLED, PICKLED_INDEX)  # the order in which transformers looks
BESIDE = (".json", ".jinja", ".model", ".txt", ".tiktoken")
LICENCES = ("license", "licence", "notice", "use_policy")
NOT_BESIDE = ("adapter_", "trainer_state", "training_args", "optimizer", "scheduler", "consolidated")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def beside(names: Iterable[str]) -> list[str]:
    """Configuration, tokenizer, chat template, the licence and the index of the weights that are taken."""
    names = [name for name in names if "/" not in name]
    index = kind if (kind := _kind(names)) in (SAFE_INDEX, PICKLED_INDEX) else None
    return sorted(name for name in names if name == index or _is_beside(name))


def weights(names: Iterable[str], read: Callable[[str], str], where: str) -> list[str]:
    """The files that hold the weights.

    Args:
        names: every file of the folder or repository, relative to it.
        read: the text of one of them; asked for an index only.
        where: the folder or repository, for errors.

    Raises:
        SeatrialError: there are none that can be loaded, or the index names one that is not there.
    """
    names = list(names)
    kind = _kind(names)
    if "config.json" not in names or kind is None:
        raise _no_model(names, where)
    if kind in (SAFE, PICKLED):
        return [kind]
    try:
        shards = sorted({str(name) for name in json.loads(read(kind))["weight_map"].values()})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SeatrialError(
            f"{kind} is no index of weights: it has no 'weight_map'", where=where, hint=_AGAIN
        ) from None
    missing = [name for name in shards if name not in names]
    if missing or not shards:
        raise SeatrialError(
            f"half of a model: {kind} names {len(shards)} files and {len(missing)} of them are not there, "
            f"such as {missing[0] if missing else 'any'}",
            where=where,
            hint=_AGAIN,
        )
    return shards


def chosen(folder: Path) -> list[str]:
    """The files of a local model folder that are taken, sorted.

    Raises:
        SeatrialError: it holds no model that can be loaded, half of one, or files of several commits.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    found = weights(names, lambda name: (folder / name).read_text(encoding="utf-8"), str(folder))
    found = sorted({*found, *beside(names)})
    _require_content(folder, found)
    _require_one_commit(folder, found)
    return found


_AGAIN = "get it again, whole: hf download ORGANISATION/NAME --revision COMMIT --local-dir DIR"


def _kind(names: Sequence[str]) -> str | None:
    return next((each for each in WHOLE_OR_INDEX if each in names), None)


def _is_beside(name: str) -> bool:
    low = name.lower()
    if low.startswith(NOT_BESIDE) or low.endswith(".index.json"):
        return False
    return low.endswith(BESIDE) or low.startswith(LICENCES)


def _no_model(names: Sequence[str], where: str) -> SeatrialError:
    """What is there instead, and what to do with it."""

    def some(*endings: str) -> str | None:
        return next((name for name in sorted(names) if name.endswith(endings)), None)

    problem, hint = "no model here: no model.safetensors", _AGAIN
    deeper = next((name for name in sorted(names) if name.endswith(("/" + SAFE, "/" + SAFE_INDEX))), None)
    if "adapter_config.json" in names:
        problem = "this is a LoRA adapter, not a model"
        hint = "[base] names the model that it was trained on; to judge an adapter: --gguf=FILE --adapter=DIR"
    elif _kind(names):
        problem = "weights without config.json, so nobody can tell what model they are"
    elif deeper:
        problem = f"the model lies in a folder of its own, {deeper.rpartition('/')[0]!r}"
        hint = 'get it, and name that folder: source = "folder"'
    elif gguf := some(".gguf"):
        problem = f"only GGUF files, such as {gguf}"
        hint = f'source = "gguf" with path = {gguf!r}, once it is there: hf download ORGANISATION/NAME {gguf}'
    elif other := some(".safetensors", ".bin", ".pth", ".pt", ".h5", ".msgpack", ".onnx", ".ckpt"):
        problem = f"no weights that transformers loads, only such as {other}"
        hint = "name a repository with model.safetensors, or save it so: model.save_pretrained(DIR)"
    return SeatrialError(problem, where=where, hint=hint)


def _require_content(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        with (folder / name).open("rb") as file:
            start = file.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise SeatrialError(
                "this is a pointer of Git LFS, not the file itself",
                where=folder / name,
                hint=f"git -C {folder} lfs pull",
            )


def _require_one_commit(folder: Path, names: Sequence[str]) -> None:
    """``hf download --local-dir`` notes beside each file the commit that it came from."""
    commits: dict[str, str] = {}
    for name in names:
        note = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
        if note.is_file() and (lines := note.read_text(encoding="utf-8", errors="replace").split()):
            commits.setdefault(lines[0], name)
    if len(commits) > 1:
        (one, first), (other, second), *_ = commits.items()
        raise SeatrialError(
            f"files of several commits: {first} is of {one[:12]}, {second} of {other[:12]}",
            where=folder,
            hint=f"get all files of one: hf download ORGANISATION/NAME --revision {one} --local-dir {folder}",
        )

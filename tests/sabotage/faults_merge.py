"""Faults of merge scripts: entries of the table in ``faults.py``; what each does is in ``mistakes.py``."""

from __future__ import annotations

from pathlib import Path

from tests.sabotage.faults import Make, fault
from tests.sabotage.workshop import Artefact, Good, merged_by_hand

WHY = {
    "a-fifth-too-strong": "alpha was raised in the recipe after the training, to push the style.",
    "a-tenth-too-strong": "A scale of 1.1 was found in a forum and typed into the merge.",
    "a-fifth-too-weak": "The adapter was damped to lose less of the base, and nobody measured what it lost.",
    "subtracted": "The merge ran on a model that had the adapter loaded already and unmerged it.",
    "scaled-by-the-root-of-the-rank": "The script took alpha / √r, which is right for rsLoRA only.",
    "without-v": "The list of module names in the script lacks v_proj.",
    "without-mlp": "The script was written for adapters of attention only.",
    "half-of-the-layers": "The weights lie in two shards, and the script read the first.",
    "into-the-next-layer": "Layers are counted from one in the one place and from zero in the other.",
    "transposed-where-square": "Another library keeps weights as (in, out); only square ones still fit.",
    "small-updates-pruned": "The largest fifth of each update was kept (TIES), as in a merge of several adapters.",
    "updates-dropped-at-random": "Nine of ten updates were dropped and the rest enlarged (DARE): as strong as before.",
    "updates-clipped": "Updates beyond their standard deviation were clipped, for a quantisation that was not made.",
    "half-of-the-rank": "The adapter was cut to half its rank to save space, and that one was merged.",
    "averaged-with-the-base": "A linear merge of two models, and one of them was the base.",
    "o-too-weak": "alpha_pattern halves o_proj in the recipe of another run.",
    "rows-in-another-order": "The script adds queries' updates to a file whose rows are ordered otherwise.",
    "overwritten": "Assignment instead of addition in the branch for the first layer.",
}


def _make(mistake: str) -> Make:
    def make(good: Good, out: Path) -> Artefact:
        return merged_by_hand(good, out, mistake)

    make.__name__ = f"merge_{mistake}".replace("-", "_")
    return make


for _mistake, _why in WHY.items():
    fault("merge", _why)(_make(_mistake))

"""How large a model is and how much memory training it takes: estimates by stated formulas, none measured.

Pure functions of a model's shape and a recipe. The factors are rules of ``rules.toml``; what they leave out
(a driver's own context, an allocator's gaps, the temporary copies of a kernel) comes on top, so an estimate
says what is needed at least.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.recipe import Lora, Recipe
from seatrial.training.rules import rule, rules

# Families with a gated feed-forward of three matrices and no experts: all that is counted here holds of them.
DENSE = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "smollm3", "granite"}
WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number
WHOLE = {"fp32": 4, "bf16": 2, "fp16": 2}  # bytes of a weight that is not quantised
QUANTISED = {"nf4": "nf4_bits", "nf4-double": "nf4_double_bits", "int8": "int8_bits"}


@dataclass(frozen=True)
class Shape:
    """The sizes of a dense transformer, in the words of its config.json."""

    layers: int
    hidden: int
    intermediate: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool

    @property
    def matrices(self) -> Mapping[str, tuple[int, int]]:
        """Rows in and out of each projection of a layer."""
        hidden, wide = self.hidden, self.intermediate
        return {
            "q_proj": (hidden, self.queries),
            "k_proj": (hidden, self.keys),
            "v_proj": (hidden, self.keys),
            "o_proj": (self.queries, hidden),
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
        }

    @property
    def linear(self) -> int:
        """Weights of all projections, which are what is quantised."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.matrices.values())

    @property
    def other(self) -> int:
        """Embeddings, output head and norms."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return tables + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        return self.linear + self.other


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a config.json tells; None for a family whose weights are not counted here."""
    told = config.get("text_config") or config
    try:
        if told["model_type"] not in DENSE:
            return None
        heads, hidden = int(told["num_attention_heads"]), int(told["hidden_size"])
        size = int(told.get("head_dim") or hidden // heads)
        return Shape(
            layers=int(told["num_hidden_layers"]),
            hidden=hidden,
            intermediate=int(told["intermediate_size"]),
            queries=heads * size,
            keys=int(told.get("num_key_value_heads") or heads) * size,
            vocabulary=int(told["vocab_size"]),
            tied=bool(told.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def shape_in(folder: Path) -> Shape | None:
    """The shape of the model in ``folder``; None where its config.json does not tell."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_of(config) if isinstance(config, dict) else None


def known_shape(model: str) -> Shape | None:
    """The shape of a shipped recipe's model, by its name; None for any other."""
    told = rules().shapes.get(model)
    return shape_of(told) if told else None


def adapter_parameters(shape: Shape, lora: Lora, rank: int | None = None) -> int | None:
    """Trained parameters of an adapter: r (in + out) for each matrix (Hu et al. 2021, arXiv:2106.09685), with
    DoRA one length more for each output, and modules that are trained whole. None for a module that no
    projection or table is called by."""
    rank = rank or lora.r
    names = shape.matrices if lora.target_modules == "all-linear" else lora.target_modules
    count = 0
    for name in names:
        if name not in shape.matrices:
            return None
        inputs, outputs = shape.matrices[name]
        count += shape.layers * (rank * (inputs + outputs) + (outputs if lora.dora else 0))
    for name in lora.modules_to_save:
        if name not in ("embed_tokens", "lm_head"):
            return None
        count += shape.vocabulary * shape.hidden
    return count


def training_bytes(shape: Shape, recipe: Recipe, dtype: str, length: int) -> dict[str, float] | None:
    """Bytes that training takes on one device, by part: ``weights``, ``adapter`` (with gradients and the
    optimiser's states), ``activations`` and ``logits``.

    Args:
        shape: of the base.
        recipe: its precision, batch, adapter, optimiser and checkpointing count.
        dtype: what is multiplied in: float32, bfloat16 or float16.
        length: tokens of the longest row of a batch.

    Returns None where the adapter cannot be counted (:func:`adapter_parameters`).
    """
    trained = adapter_parameters(shape, recipe.lora)
    if trained is None:
        return None
    settings, precision, width = recipe.trainer, recipe.base.precision, WIDTH[dtype]
    if precision in WHOLE:
        weights = float(shape.parameters * WHOLE[precision])
    else:
        weights = shape.linear * rule(QUANTISED[precision]).value / 8 + shape.other * width
    states = rule("adam_8bit_bytes" if "8bit" in settings.optimizer else "adam_bytes").value
    tokens = settings.batch_size * length
    layer = tokens * shape.hidden * width / 2  # rules count 16-bit numbers
    whole = rule("activation_bytes").value
    if settings.gradient_checkpointing:
        activations = layer * (rule("recomputed_bytes").value * shape.layers + whole)
    else:
        activations = layer * whole * shape.layers
    return {
        "weights": weights,
        "adapter": trained * (rule("trained_bytes").value + states),
        "activations": activations,
        "logits": tokens * shape.vocabulary * (width + rule("logit_bytes").value),
    }

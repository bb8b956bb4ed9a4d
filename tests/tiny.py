"""A GGUF file of two layers with random weights and SmolLM2's tokenizer: it loads in a moment, answers anything.

Made of the base model's metadata without torch, so that tests of the runtime need neither training nor time.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType

from seatrial.training import base
from seatrial.training.recipe import load_recipe
from tests.sabotage import gguf_edit

LAYERS, WIDTH, HIDDEN, HEADS, KEYS = 2, 64, 128, 4, 2
SHAPES = {
    "attn_norm": (WIDTH,),
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // HEADS * KEYS, WIDTH),
    "attn_v": (WIDTH // HEADS * KEYS, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_norm": (WIDTH,),
    "ffn_gate": (HIDDEN, WIDTH),
    "ffn_up": (HIDDEN, WIDTH),
    "ffn_down": (WIDTH, HIDDEN),
}


def tiny_gguf(path: Path, seed: int = 7) -> Path:
    """Write the file to ``path``."""
    recipe = load_recipe("smollm2-135m-cpu")
    model = gguf_edit.read(base.locate(recipe.base, recipe.folder))
    numbers = np.random.default_rng(seed)
    vocabulary = len(model["tokenizer.ggml.tokens"])
    sizes = {"block_count": LAYERS, "embedding_length": WIDTH, "feed_forward_length": HIDDEN}
    sizes |= {"attention.head_count": HEADS, "attention.head_count_kv": KEYS}
    sizes |= {"rope.dimension_count": WIDTH // HEADS, "context_length": 512}
    for key, value in sizes.items():
        model.say(f"llama.{key}", value)
    for key in [key for key in model.metadata if key.startswith("quantize.")]:
        del model.metadata[key]
    shapes = {
        f"blk.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in SHAPES.items()
    }
    shapes = {"token_embd.weight": (vocabulary, WIDTH), **shapes, "output_norm.weight": (WIDTH,)}
    model.tensors = {
        name: gguf_edit.Tensor(_weights(name, shape, numbers), GGMLQuantizationType.F32)
        for name, shape in shapes.items()
    }
    return gguf_edit.write(model, path)


def _weights(name: str, shape: tuple[int, ...], numbers: np.random.Generator) -> np.ndarray:
    if "norm" in name:
        return np.ones(shape, np.float32)
    return numbers.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

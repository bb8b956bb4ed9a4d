"""How far from the trained model a tensor of a given type may be: what llama.cpp's own plain rounding of the
trained tensor to that type costs. So no limit depends on the architecture, on the file's label, or on which
types were mixed in it.

llama.cpp makes a few types with an importance matrix only. Their yardstick is the file itself: the tensors
of one type lose much the same share, so each is measured by their median, and whether all of them lose too
much is for the divergence to say. By an importance matrix the trained weights are missed by up to a sixth
more (measured on eight types, with weights of importance that differ a thousandfold), so a file that names
one has more room.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from gguf import GGMLQuantizationType

SLACK = 1.25  # a tensor may be this much further from the trained one than our own rounding is
IMATRIX_SLACK = 1.5  # the same in a file that names its importance matrix
ROW_SLACK = 3.0  # the same for the worst row of a tensor, whose error varies more
# Relative error of a row that 16-bit rounding explains: a merge in bfloat16 rounds base, update and sum, by
# 0.0024 together.
ROUNDING = 2.5e-3
ELEMENT = 0.015  # ... of a single weight, relative to the largest of its row; a flipped bit is more
PEERS_SLACK = 2.0  # multiple of the median share that tensors of the same type lose
WHOLE = {GGMLQuantizationType[name] for name in ("F64", "F32", "F16", "BF16")}
BY_IMATRIX = ("IQ1", "IQ2", "IQ3_XXS")  # beginnings of the types that llama-quantize refuses without one


def rounded(values: Any, kind: GGMLQuantizationType) -> Any | None:
    """``values`` (rows, columns) rounded to ``kind`` by llama.cpp and read again; None for types that need an
    importance matrix. What 16 bits and more lose is ``ROUNDING``'s: those come back as they are."""
    import numpy as np
    from gguf.quants import dequantize

    if kind in WHOLE:
        return values
    if kind.name.startswith(BY_IMATRIX):
        return None
    return dequantize(packed(values, kind), kind).astype(np.float32)


def packed(values: Any, kind: GGMLQuantizationType, importance: Any = None) -> Any:
    """``values`` (rows, columns) as the bytes of a tensor of type ``kind``, by llama.cpp; ``importance``: a
    weight for each column, which types of one or two bits need."""
    import numpy as np
    from gguf.quants import quant_shape_to_byte_shape

    source = np.ascontiguousarray(values, dtype=np.float32)
    weights = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    found = np.empty(quant_shape_to_byte_shape(source.shape, kind), dtype=np.uint8)
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (source, found)]
    last = None if weights is None else weights.ctypes.data_as(ctypes.c_void_p)
    _quantise()(int(kind), *pointers, 0, *source.shape, last)
    return found


@cache
def _quantise() -> Any:
    """ggml's function that rounds rows of float32."""
    from llama_cpp import _ggml

    chunk = _ggml.libggml.ggml_quantize_chunk
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    chunk.restype = ctypes.c_size_t
    return chunk

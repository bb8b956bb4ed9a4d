"""The stages between training data and user, named in verdicts as where a fault came in."""

from __future__ import annotations

DATA = "data"
TRAINING = "training"
PREFERENCE = "preference"
MERGE = "merge"
CONVERSION = "conversion"
TOKENIZER = "tokenizer"
TEMPLATE = "template"
QUANTISATION = "quantisation"
FILE = "file"
RUNTIME = "runtime"

STAGES = (
    *(DATA, TRAINING, PREFERENCE, MERGE, CONVERSION, TOKENIZER),
    *(TEMPLATE, QUANTISATION, FILE, RUNTIME),
)

ADVICE = {
    DATA: "take what leaked out of the training data and train again",
    TRAINING: "look at the loss curve and the rows; the export is not at fault",
    PREFERENCE: "ship the adapter before this stage (a recipe without [preference]), or run it more gently: "
    "a smaller learning_rate, a larger beta, an sft_weight",
    MERGE: "merge once, by the exact route: the adapter into the weights that it was trained beside, "
    "dequantised (training/merge.py); without --hf-model, Seatrial merges --adapter that way itself",
    CONVERSION: "convert the merged folder again with the converter of the installed llama.cpp",
    TOKENIZER: "export the tokenizer that was trained with: vocabulary, pre-tokenizer, BOS and EOS",
    TEMPLATE: "put the trained chat template, its default system prompt and its stop strings into the export",
    QUANTISATION: "quantise the F16 file once; if that is the loss, ship q5_k_m or q8_0",
    FILE: "this is not the file that was exported: copy it again and compare its SHA-256",
    RUNTIME: "compare the runtime's template, stop strings and version with those of the export",
}

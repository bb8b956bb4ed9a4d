"""Dataset factory: hand-written seeds in TOML become a ShareGPT training set, byte for byte.

    python -m seatrial.training.factory training/data/task_api           # write train.jsonl, DATA_CARD.md
    python -m seatrial.training.factory training/data/task_api --check   # exit 1 if the files differ

The parts: `seeds` reads, `slots` deals values, `noise` roughens, `answer` states the contract,
`compose` makes rows, `card` describes them. Left out on purpose: anything that needs a model
(paraphrasing, filtering) and multi-turn conversations.
"""

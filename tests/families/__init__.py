"""Tiny models of the families that people fine-tune, with random weights and, where a package brings one, the
family's real tokenizer. ``table`` holds them as data, ``make.py`` writes one as a Hugging Face folder."""

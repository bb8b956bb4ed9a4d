"""Export fidelity: is the file that ships the model that was trained, and if not, which stage lost it?

``trained`` runs the trained model itself (transformers), ``reference`` says what a right export of it looks
like, ``metadata``, ``weights`` and ``prompts`` compare the shipped file with both. Every difference carries
the stage at which it can have come in (``stages``). Metrics over these are in ``evals/metrics/fidelity.py``.
"""

"""Export fidelity: is the file that ships the model that was trained, and if not, which stage lost it?

``trained`` runs the trained model itself (transformers), ``runtime`` the file in llama.cpp and Ollama;
``metadata``, ``modelfile``, ``weights`` and ``prompts`` compare the file with that model and with our own
export of it. Every difference carries the stage at which it can have come in (``stages``); ``chain`` is what
the metrics in ``evals/metrics/fidelity.py`` read.
"""

"""Training and export in plain Python: spec → dataset → adapter → merged model → GGUF, kept in the store."""

if __name__ != "seatrial.training":  # a second copy of the modules would keep results of its own
    raise ImportError(f"{__name__!r} is not the package of this folder: import seatrial.training")

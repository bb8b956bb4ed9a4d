"""Modelfiles read as Ollama reads them, so that what is judged is what is served.

``parser`` makes instructions of the text, ``values`` makes values of PARAMETER lines, ``source`` asks whether
FROM names the judged file. ``fidelity/served`` asks whether what they say leaves the judged answers alone.
"""

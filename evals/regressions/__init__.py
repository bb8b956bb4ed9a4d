"""From a failure in production to a row that stops the next release: read, clean, prove, write.

``records``: what production wrote down, in the shapes that logs have. ``private_data``: secrets and personal
data, which a repository is no place for. ``proof``: the row is red on the answer that was seen, by the very
metrics that will judge it. ``rows``: the house format of a case file, written whole or not at all.
"""

"""Evaluation protocols: a model and data to a result, a dictionary that `eval/` writes as JSON."""

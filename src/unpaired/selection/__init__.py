"""Validation while training: the rule that selects a checkpoint, and early stopping."""

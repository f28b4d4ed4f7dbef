"""Figures of merit: pure functions, and what runs them over a test set."""

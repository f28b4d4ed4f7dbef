"""Drawn scenes: landscapes generated from a seed in several styles, with exact pairs."""

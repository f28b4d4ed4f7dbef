"""Untrusted files: archives and weights of other programs, read without executing code."""

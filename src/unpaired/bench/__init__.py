"""Benchmarks of training steps and translations, timed round by round in one run on one machine."""

from __future__ import annotations

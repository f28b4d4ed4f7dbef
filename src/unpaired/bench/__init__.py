"""Benchmarks that anyone can rerun: training steps and translations, timed in turn in one run on one machine."""

from __future__ import annotations

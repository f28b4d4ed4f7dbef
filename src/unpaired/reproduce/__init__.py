"""Reproduces the papers' tables, one command per table: same training and same evaluation for all methods."""

from __future__ import annotations

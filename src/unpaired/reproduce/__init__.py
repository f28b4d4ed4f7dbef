"""The papers' tables, each by one command: methods trained alike, and read by the same judges."""

from __future__ import annotations

"""Human studies: an offline page with real and translated images, and the analysis of its answers."""

from __future__ import annotations

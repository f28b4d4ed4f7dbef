"""Faults brought about on purpose: kills, failing system calls, full disks, damage; `make faults` runs them all."""

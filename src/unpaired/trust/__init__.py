"""How far a translation can be trusted: out-of-distribution and consistency scores."""

"""Classic mistakes planted into a copy of the source, each of which a named test has to notice."""

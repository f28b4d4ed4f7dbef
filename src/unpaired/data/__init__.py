"""Where images come from and how they become training batches: sources, datasets, the drawn world."""

"""Image sources, and the datasets that make training batches of them."""

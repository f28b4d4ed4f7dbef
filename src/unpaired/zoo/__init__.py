"""Ready-made models: the list of them, fetching those that the authors of the papers publish, removing fetched ones."""

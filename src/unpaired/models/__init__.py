"""The model folder: model.json, weights and card, as they are published and loaded."""

"""The models that come with the package: a folder each, by its name; docs/models.md has the rules for them."""

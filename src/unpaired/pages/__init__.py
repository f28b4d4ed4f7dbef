"""The HTML pages of the package, each a single file that needs no network: their common skeleton, style and escaping.

A page is a template of its own style and body, laid into `skeleton.html` by `html_pages`. The report of a run, the
evaluation and the data check are such pages; their content is made in their own packages.
"""

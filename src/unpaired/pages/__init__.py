"""The HTML pages of the package, each a single file that needs no network: their common skeleton, style and escaping.

A page is a template with its own style and body, which `html_pages` inserts into `skeleton.html`. The report of a run,
the evaluation and the data check are such pages; their own packages make the content.
"""

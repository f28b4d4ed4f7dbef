"""The command line as a whole: each verb's file adds its own to it."""

from __future__ import annotations

from cyclopts import App

from unpaired.version import __version__

app = App(
    name="unpaired",
    help="Image-to-image translation learnt from two folders of images that were never matched up.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
)
data_app = App(name="data", help="Check your own images, draw data sets for experiments, or download published ones.")
app.command(data_app)

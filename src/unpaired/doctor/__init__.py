"""The data doctor: `unpaired data check` inspects every file of a data folder and predicts how training would use it.

`folders` finds the files, `unpaired.scanning` inspects each of them, `comparing` finds duplicates, `findings` has
the texts of each fault, `checkup` combines them, `sheet` is the page.
"""

"""The data doctor: `unpaired data check` inspects every file of a data folder and reports its effect on training.

`folders` finds the files, `unpaired.scanning` inspects each of them, `comparing` finds the same picture twice,
`findings` holds the sentences about each fault, `checkup` brings them together, `sheet` is the page.
"""

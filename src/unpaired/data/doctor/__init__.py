"""The data doctor: `unpaired data check` looks at every file of a data folder and says what training would make of it.

`layout` finds the files, `anatomy` reads what decoders do not tell, `looking` looks at one file, `comparing` finds the
same picture twice, `findings` holds what is said about each fault, `checkup` brings them together, `sheet` is the page.
"""

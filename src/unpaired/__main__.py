"""`python -m unpaired` is `unpaired`."""

from unpaired.cli import main

if __name__ == "__main__":  # loader processes import this file under another name
    main()

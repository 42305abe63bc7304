"""The command line of weightnet in a checkout: `python run.py --help`."""

from weightnet.__main__ import main

if __name__ == "__main__":
    main()

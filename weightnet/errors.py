"""The kinds of error that are no bugs."""

import argparse
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, but what is wrong with a command line is said in one line."""

    def error(self, message: str) -> NoReturn:
        """End with it."""
        self.exit(2, f"weightnet: {message}; see {self.prog} --help\n")


class UserError(Exception):
    """A mistake that the user can mend before anything runs, in a line: what is wrong, what is right; exit status 2."""


class Misfit(UserError):
    """Dimensions that do not fit the network: of the combinations of a sweep, one may have asked for those that do."""


class RunFailed(Exception):
    """One run or several ended early, in a plain line: what happened, how to go on; exit status 1."""


class Held(Exception):
    """Another process executes the run."""

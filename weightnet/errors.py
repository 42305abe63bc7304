"""The kinds of error that are no bugs."""


class UserError(Exception):
    """A mistake that the user can mend before anything runs: shown as a plain line, exit status 2.

    The message says what is wrong and what would be right.
    """


class RunFailed(Exception):
    """One run or several ended early: shown as a plain line, exit status 1.

    The message says what happened and how to go on.
    """


class Held(Exception):
    """Another process executes the run."""

"""The two kinds of error that are shown as a plain line instead of a traceback."""


class UserError(Exception):
    """A mistake that the user can mend before anything runs: exit status 2.

    The message says what is wrong and what would be right.
    """


class RunFailed(Exception):
    """A run that the machine stopped, by a full disk, say: exit status 1.

    The message says what happened and how to go on.
    """

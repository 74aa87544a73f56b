"""The one error of this package that is meant for people: what is wrong, and what to do about it."""


class LocalClusterError(Exception):
    """Something a person can act on; the command line prints it without a traceback."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message if not remedy else f"{message}\n{remedy}")
        self.message = message
        self.remedy = remedy

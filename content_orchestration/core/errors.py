"""The errors that engines raise, sorted by what the caller should do. `failures.py` says what Dagster makes of them."""


class ContentError(Exception):
    """Base of the project's own errors. The message names what is wrong, the rule, and the way out."""


class Permanent(ContentError):
    """Trying again cannot help: bad input, a missing privilege, a table that is not there."""


class Transient(ContentError):
    """Trying again later can help: a server is down or busy. `retry_after` is in seconds, where the server named it."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AlreadyRunning(ContentError):
    """Another run holds the lock of this job. Not a failure of data: wait for it, or look at it."""

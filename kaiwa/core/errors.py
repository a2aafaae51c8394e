"""Errors that a user may see. A message is one line: what is wrong, where, the limit, and the fix."""


class UserError(ValueError):
    """Bad input. Commands print the message without a traceback and exit with code 2.

    field: the name of the option, request field or record key at fault, or "". code: a short name of the kind of
    error, such as "context_length_exceeded", for callers that treat kinds differently; no code parses the message.
    """

    def __init__(self, message: str, *, field: str = "", code: str = "") -> None:
        super().__init__(message)
        self.field, self.code = field, code

    def __reduce__(self) -> tuple[object, ...]:
        """Keep field and code when a child process pickles the error."""
        return _user_error, (str(self), self.field, self.code)


def _user_error(message: str, field: str, code: str) -> UserError:
    return UserError(message, field=field, code=code)


class Stopped(Exception):
    """The user asked to stop. The stage has saved its state; the same command continues from there."""

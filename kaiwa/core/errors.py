"""What a user may see: one line that says what, where, the limit and the fix."""


class UserError(ValueError):
    """Bad input. The message is shown as it is, without a traceback; the exit code is 2.

    field: the name of the option, request field or record key at fault, "" if there is none. code: a short word for
    the kind of error, such as "context_length_exceeded", for callers that tell kinds apart; nobody parses the message.
    """

    def __init__(self, message: str, *, field: str = "", code: str = "") -> None:
        super().__init__(message)
        self.field, self.code = field, code

    def __reduce__(self) -> tuple[object, ...]:
        """Keep field and code when the error is pickled on its way out of a child process."""
        return _user_error, (str(self), self.field, self.code)


def _user_error(message: str, field: str, code: str) -> UserError:
    return UserError(message, field=field, code=code)


class Stopped(Exception):
    """The person asked to stop. The stage has saved its state; the same command goes on from there."""

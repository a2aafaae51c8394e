"""What a user may see: one line that says what, where, the limit and the fix."""


class UserError(ValueError):
    """Bad input. The message is shown as it is, without a traceback; the exit code is 2."""


class Stopped(Exception):
    """The person asked to stop. The stage has saved its state; the same command goes on from there."""

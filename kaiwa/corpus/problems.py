"""Reading problems: counted, reported once per file and kind, and fatal with `strict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError


@dataclass(slots=True)
class Problems:
    """Counts of reading problems. The first problem of each kind in a file is reported, the rest are only counted."""

    say: Callable[[str], None]
    strict: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    file_counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def report(self, kind: str, file: str, where: str, line: str) -> None:
        """Count a problem, and report the first of its kind in a file. UserError with `strict`.

        kind: the counter ("bad_json_line"); where: file:line or file; line: the description of the problem.
        """
        if self.strict:
            raise UserError(f"{where}: {line}; correct the file, or leave out --strict to skip such places")
        self.counts[kind] += 1
        self.file_counts[kind, file] += 1
        if self.file_counts[kind, file] == 1:
            self.say(f"{where}: {line}; counted, reading continues")

    def finish_file(self, file: str) -> None:
        """Report the number of problems of each kind that occurred more than once in a file."""
        for (kind, name), n in self.file_counts.items():
            if name == file and n > 1:
                self.say(f"{file}: {n} problems of this kind ({kind.replace('_', ' ')})")

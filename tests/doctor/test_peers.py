"""The table of other servers is made from the checks, and names none that is gone."""

from pathlib import Path

from kaiwa.doctor.peers import PEERS, UNKNOWN, table
from kaiwa.doctor.run import checks

PAGE = Path(__file__).parent.parent.parent / "docs" / "doctor.md"


def test_every_note_is_about_a_check() -> None:
    labels = {check.label for _, check in checks()}
    assert set(PEERS) - labels == set()


def test_the_page_is_the_table() -> None:
    """After a change: python -m kaiwa.doctor.peers > docs/doctor.md"""
    assert PAGE.read_text(encoding="utf-8") == table()
    assert table().count("\n| ") == len(checks()) + len({group for group, _ in checks()})
    assert f"| {UNKNOWN} | {UNKNOWN} | {UNKNOWN} |" in table()

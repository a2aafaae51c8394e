"""A Python function in place of the reward model, and what is said of one that does not work."""

from pathlib import Path

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.rlhf.score import check_scores, load_function, score_from_file, score_from_files, weighted
from kaiwa.text.records import Completion, Message

ASKED = {(1, 2): (Message("user", "Hello"),), (3,): (Message("user", "Bye"),)}
REPLIES = [Completion(text="yes"), Completion(text="no, never")]


def write(folder: Path, body: str) -> str:
    file = folder / "rewards.py"
    file.write_text(f"def score(prompts, replies):\n    {body}\n")
    return f"{file}:score"


def test_it_gets_messages_and_texts_and_gives_a_number_each(tmp_path: Path) -> None:
    spec = write(tmp_path, "return [len(r) + len(p[-1]['content']) for p, r in zip(prompts, replies)]")
    assert score_from_file(spec, ASKED)([(1, 2), (3,)], REPLIES).tolist() == [8.0, 12.0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('colour')", r"score, line 2: raised KeyError: 'colour' \(given 2 replies, the first 'yes'"),
        ("raise ValueError('one\\ntwo')", "raised ValueError: one two"),
        ("import sys; sys.exit(3)", "line 2: raised SystemExit: 3"),
        ("return [1.0, float('nan')]", r"1 of 2 scores are no numbers, the first nan for reply 1 \('no, never'\)"),
        ("return [1.0]", "gave 1 scores for 2 replies"),
        ("return None", "raised TypeError"),
        ("return ['much', 1]", "raised ValueError"),
    ],
)
def test_one_clear_line(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        score_from_file(write(tmp_path, body), ASKED)([(1, 2), (3,)], REPLIES)
    assert "\n" not in str(caught.value)


def test_a_wrong_path_is_named(tmp_path: Path) -> None:
    for spec, said in (
        ("rewards.py", "give FILE.py:FUNCTION"),
        (f"{tmp_path}/none.py:score", "no such file"),
        (write(tmp_path, "return 1").replace(":score", ":scor"), "did you mean 'score'"),
    ):
        with pytest.raises(UserError, match=said):
            load_function(spec)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError"):
        load_function(f"{tmp_path}/broken.py:score")


def test_infinities_are_no_scores() -> None:
    with pytest.raises(UserError, match="2 of 3"):
        check_scores(torch.tensor([1.0, torch.inf, -torch.inf]), ["a", "b", "c"], "score")


def test_a_weighted_sum_of_functions(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text("def one(p, r):\n    return [1.0] * len(r)\n\ndef length(p, r):\n    return [len(x) for x in r]\n")
    spec = f"0.5*{file}:length, -2*{file}:one,{file}:one"
    assert weighted(spec) == [(0.5, f"{file}:length"), (-2.0, f"{file}:one"), (1.0, f"{file}:one")]
    total = score_from_files(spec, ASKED)([(1, 2), (3,)], REPLIES)
    assert total.tolist() == [0.5 * len(reply.text) - 1 for reply in REPLIES]
    assert score_from_files(f"{file}:length", ASKED)([(1, 2), (3,)], REPLIES).tolist() == [len(r.text) for r in REPLIES]
    for bad, message in (("x*a.py:f", "'x' is no weight"), ("nan*a.py:f", "must be finite")):
        with pytest.raises(UserError, match=message):
            weighted(bad)

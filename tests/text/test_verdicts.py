"""Rankings in the shapes of published data sets: the prompt, the answers, who is better, and what cannot be read."""

import json
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.data_card import kind_of, shape_of
from kaiwa.text.shapes import comparison_of, demonstration_of
from kaiwa.text.verdicts import is_verdict_row, places, verdict_rows

Q, GOOD, BAD = "Name a river.", "The Loire.", "A rock."


def talk(answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": Q}, {"role": "assistant", "content": answer}]


BATTLE = {"question_id": "1", "model_a": "m1", "model_b": "m2", "judge": "arena_user_9", "turn": 1,
          "conversation_a": talk(GOOD), "conversation_b": talk(BAD)}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "ranks"),
    [
        (BATTLE | {"winner": "model_a"}, (0, 1)),
        (BATTLE | {"winner": "model_b"}, (1, 0)),
        (BATTLE | {"winner": "tie"}, (0, 0)),
        (BATTLE | {"winner": "tie (bothbad)"}, (0, 0)),
        ({"prompt": json.dumps([Q]), "response_a": json.dumps([GOOD]), "response_b": json.dumps([BAD]),
          "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, (0, 1)),
        ({"prompt": [Q], "response_a": [GOOD], "response_b": [BAD],
          "winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1}, (0, 0)),
        ({"prompt": Q, "response_0": GOOD, "response_1": BAD, "better_response_id": 1, "safer_response_id": 0}, (1, 0)),
        ({"history": Q, "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 1, "score_A": 9}, (0, 1)),
        ({"history": Q, "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 0}, (1, 0)),
        ({"context": talk("")[:1], "response1": GOOD, "response2": BAD, "overall_preference": -2}, (0, 1)),
        ({"prompt": Q, "response_1": GOOD, "response_2": BAD, "preference_strength": 0}, (0, 0)),
        ({"question": {"full_text": Q}, "answer_0": GOOD, "answer_1": BAD, "score_0": 0.5, "score_1": -0.5}, (0, 1)),
        ({"instruction": Q, "output_1": GOOD, "output_2": BAD, "preference": 2}, (1, 0)),
        ({"instruction": Q, "completions": [{"response": GOOD, "overall_score": 8.5},
                                            {"response": BAD, "overall_score": 2}]}, (0, 1)),
        ({"prompt": f"\n\nHuman: {Q}\n\nAssistant: ", "turns": 1,
          "answers": [{"answer": GOOD, "rank": 1}, {"answer": BAD, "rank": 2}]}, (0, 1)),
        ({"info": {"post": Q}, "summaries": [{"text": GOOD}, {"text": BAD}], "choice": 1, "worker": "w"}, (1, 0)),
    ],
)  # fmt: skip
def test_published_rankings(row: dict[str, Any], ranks: tuple[int, ...]) -> None:
    record = comparison_of(row)
    assert [(m.role, m.content) for m in record.prompt] == [("user", Q)]
    assert record.completions == (GOOD, BAD)
    assert record.ranks == ranks
    assert kind_of(row) == "comparisons"
    assert shape_of(row).startswith("answers with a verdict (")


def test_who_judged_and_that_both_are_bad() -> None:
    record = comparison_of(BATTLE | {"winner": "tie (bothbad)"})
    assert (record.labeller, dict(record.meta)) == ("arena_user_9", {"bad": True})
    assert not comparison_of(BATTLE | {"winner": "tie"}).meta


def test_equal_scores_are_ties_and_the_next_rank_is_as_many_further() -> None:
    assert places([-5.0, -9.0, -5.0, -1.0]) == [1, 0, 1, 3]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (BATTLE | {"winner": "model_c"}, "winner: 'model_c' is unknown; use model_a, model_b or tie"),
        (BATTLE | {"winner": "model_a", "conversation_b": talk(BAD) + talk(BAD)}, "differs from conversation_a before"),
        (BATTLE | {"winner": "model_a", "conversation_a": []}, "conversation_a: a list with at least one message"),
        ({"response_0": GOOD, "response_1": BAD, "better_response_id": 0}, "prompt: it is missing"),
        ({"prompt": [Q, Q], "response_a": [GOOD, GOOD], "response_b": [BAD, BAD], "winner_model_a": 1},
         "prompt: 2 turns; both must answer one prompt"),
        ({"prompt": Q, "response_0": 3, "response_1": BAD, "better_response_id": 0}, "response_0: a text is expected"),
    ],
)  # fmt: skip
def test_rows_that_disagree(row: dict[str, Any], message: str) -> None:
    assert is_verdict_row(row)
    with pytest.raises(UserError, match=message):
        comparison_of(row)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": Q, "response_a": GOOD, "response_b": BAD},  # no verdict
        {"prompt": Q, "completions": [GOOD, BAD], "ranks": [0, 1]},
        {"prompt": Q, "completions": [{"response": GOOD}, {"response": BAD}]},
        {"prompt": Q, "chosen": GOOD, "rejected": BAD, "score_chosen": 9.0},
        {"messages": talk(GOOD), "score": 3},
        [1],
        "text",
    ],
)
def test_rows_of_other_shapes_are_left_to_others(row: Any) -> None:
    assert verdict_rows(row) is None


def test_dialogues_of_inputs_and_outputs() -> None:
    row = {"conversation": [{"input": Q, "output": GOOD}, {"input": "Another?", "output": "The Seine."}]}
    messages = demonstration_of(row).messages
    assert [(m.role, m.content) for m in messages[1:3]] == [("assistant", GOOD), ("user", "Another?")]

"""Rows of labelling tools, in the shapes that their exports have had over the years."""

from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.data_card import kind_of, shape_of
from kaiwa.text.shapes import comparison_of, comparisons_of

ITEMS = [{"id": "blog", "title": "t", "body": "B"}, {"id": "mdn", "body": "M"}, {"id": 3, "body": "W"}]
FIELDS = {"prompt": "P", "response-1": "a", "response-2": "b", "response-3": "c"}


def studio(value: Any, kind: str = "ranker", **more: Any) -> dict[str, Any]:
    data = {"prompt": "P", "items": ITEMS} if kind == "ranker" else {"prompt": "P", "answer1": "a", "answer2": "b"}
    annotation = {"completed_by": 7, "result": [{"from_name": "rank", "type": kind, "value": value}], **more}
    return {"id": 1, "data": data, "annotations": [annotation], "predictions": []}


def argilla(value: Any, **more: Any) -> dict[str, Any]:
    return {"fields": FIELDS, "responses": {"ranking": [{"user_id": "u", "value": value, **more}]}}


def ranks_of(*pairs: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"value": f"response-{i}", "rank": rank} for i, rank in pairs]


NAMES = ["response-2", "response-1", "response-3"]
LISTED = [{"user_id": "u", "status": "submitted", "values": {"ranking": {"value": ranks_of((3, 1), (1, 1), (2, 3))}}}]
COLUMNS = {"rank": [2, 1, 3], "value": ["response-1", "response-2", "response-3"]}
FLAT = {"ranking.responses": [NAMES], "ranking.responses.users": ["u"], "ranking.responses.status": ["submitted"]}


@pytest.mark.parametrize(
    ("row", "ranks", "labeller"),
    [
        (studio({"ranker": ["mdn", "3", "blog"]}), (2, 0, 1), "7"),
        (studio({"rank": ["mdn", 3, "blog"]}), (2, 0, 1), "7"),
        (studio({"ranker": {"rank": ["mdn", "3", "blog"]}}), (2, 0, 1), "7"),
        (studio({"ranker": {"good": ["mdn", "blog"], "bad": ["3"]}}), (0, 0, 2), "7"),
        (studio({"ranker": ["blog", "mdn", "3"]}, completed_by={"id": 2, "email": "a@x.org"}), (0, 1, 2), "a@x.org"),
        (studio({"selected": "left"}, "pairwise"), (0, 1), "7"),
        (studio({"selected": "right"}, "pairwise"), (1, 0), "7"),
        (argilla(NAMES), (1, 0, 2), "u"),
        ({"fields": FIELDS, "responses": LISTED}, (0, 2, 0), "u"),
        ({**FIELDS, "ranking": [{"user_id": "u", "status": "submitted", "value": COLUMNS}]}, (1, 0, 2), "u"),
        ({**FIELDS, **FLAT}, (1, 0, 2), "u"),
    ],
)
def test_rankings_of_tools(row: dict[str, Any], ranks: tuple[int, ...], labeller: str) -> None:
    record = comparison_of(row)
    assert (record.ranks, record.labeller, record.prompt[0].content) == (ranks, labeller, "P")
    assert kind_of(row) == "comparisons"
    assert shape_of(row).startswith(("Argilla", "Label Studio"))


def test_several_people_in_one_row_and_drafts_left_out() -> None:
    row = argilla(NAMES)
    row["responses"]["ranking"] += [
        {"user_id": "v", "value": NAMES[::-1]},
        {"user_id": "w", "status": "draft", "value": NAMES[:1]},
    ]
    assert [record.labeller for record in comparisons_of(row)] == ["u", "v"]
    cancelled = studio({"ranker": ["mdn", "blog", "3"]}, was_cancelled=True)
    with pytest.raises(UserError, match="nobody has ranked it yet"):
        comparisons_of(cancelled)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (studio({"ranker": ["mdn", "blog"]}), "no rank for '3'; 2 of 3"),
        (studio({"ranker": ["mdn", "mdn", "blog"]}), "'mdn' is ranked twice"),
        (studio({"ranker": ["mdn", "blog", "3", "x"]}), "'x', which is no output"),
        (studio({"ranker": {"_": ["mdn"], "good": ["blog", "3"]}}), "1 outputs were not ranked"),
        (studio({"selected": "up"}, "pairwise"), "neither left nor right"),
        ({"data": {"items": ITEMS}, "annotations": [{"result": []}]}, "no prompt in it"),
        (argilla(["response-1", "response-9"]), "'response-9', which is no output"),
        (argilla(["response-1", "response-2"]), "no rank for 'response-3'"),
        (argilla([{"value": "response-1"}]), "needs a value and a rank"),
    ],
)
def test_fields_that_disagree_are_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        comparison_of(row)

"""Rankings as labelling tools export them, turned into rows {"prompt", "completions", "ranks", "labeller"}.

    Argilla        "fields" with the prompt and response-1, response-2, …, and "responses" (or flat columns) with
    rankings
                   [{"value": "response-1", "rank": 1}, …], as lists of names, or as columns of names and ranks
    Label Studio   "data" with the prompt and "items" (ranker) or two answers (pairwise), "annotations" with "result"

A row of a tool may hold the rankings of several people: it becomes a row each. What was suggested by a model and drafts
are no judgements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kaiwa.core.errors import UserError

PROMPT = ("prompt", "instruction", "question", "text", "input", "query", "messages")
ANSWERS = (
    *(("answer1", "answer2"), ("answer_1", "answer_2"), ("text1", "text2"), ("response1", "response2")),
    *(("left", "right"), ("answer_a", "answer_b"), ("response_a", "response_b"), ("chosen", "rejected")),
)
ITEM_TEXT = ("body", "text", "value", "html", "title")
NUMBERED = re.compile(r"(.*?)[-_ ]?(\d+)$")
NO_JUDGEMENT = ("draft", "discarded", "pending")


def is_tool_row(row: Any) -> bool:
    """Return whether a row is one of a labelling tool."""
    if not isinstance(row, Mapping):
        return False
    studio = isinstance(row.get("data"), Mapping) and isinstance(row.get("annotations"), list)
    argilla = isinstance(row.get("fields"), Mapping) and isinstance(row.get("responses"), Mapping | list)
    return studio or argilla or "ranking" in row or any(str(name).endswith(".responses") for name in row)


def tool_rows(row: Any) -> list[dict[str, Any]] | None:
    """Return a labelling tool's row as rows of rankings, None for a row of another kind. UserError for a faulty one."""
    if not is_tool_row(row):
        return None
    if isinstance(row.get("data"), Mapping):
        return list(_label_studio(row["data"], row["annotations"]))
    flat = not isinstance(row.get("fields"), Mapping)
    return list(_argilla(row if flat else row["fields"], row if flat else row["responses"]))


def _label_studio(data: Mapping[str, Any], annotations: Sequence[Any]) -> Iterator[dict[str, Any]]:
    prompt = _prompt(data)
    for annotation in annotations:
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        labeller = _person(annotation.get("completed_by"))
        for result in annotation.get("result") or ():
            value = result.get("value") if isinstance(result, Mapping) else None
            if not isinstance(value, Mapping) or result.get("type") not in ("pairwise", "ranker"):
                continue
            pairwise = result["type"] == "pairwise"
            texts, ranks = _pair(data, value) if pairwise else _ranker(data, value, result.get("from_name"))
            yield {"prompt": prompt, "completions": texts, "ranks": ranks, "labeller": labeller}


def _pair(data: Mapping[str, Any], value: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    names = next((pair for pair in ANSWERS if all(isinstance(data.get(name), str) for name in pair)), None)
    if names is None:
        raise UserError(f"data: no two answers in it ({', '.join(map(str, data))[:100]})")
    ranks = {"left": [0, 1], "right": [1, 0], "tie": [0, 0], "": [0, 0]}.get(str(value.get("selected") or ""))
    if ranks is None:
        raise UserError(f"value.selected: {value.get('selected')!r:.40} is neither left nor right")
    return [data[name] for name in names], ranks


def _ranker(data: Mapping[str, Any], value: Mapping[str, Any], name: Any) -> tuple[list[str], list[int]]:
    items = next((v for v in data.values() if isinstance(v, list) and v and all(map(_is_item, v))), None)
    if items is None:
        raise UserError("data: no list of items with ids in it")
    texts = {str(item["id"]): next(str(item[key]) for key in ITEM_TEXT if item.get(key) is not None) for item in items}
    ranked = value.get("ranker", value.get(str(name)))
    ranked = next(iter(ranked.values())) if isinstance(ranked, Mapping) and len(ranked) == 1 else ranked
    buckets = ranked.values() if isinstance(ranked, Mapping) else [[one] for one in ranked or ()]
    if isinstance(ranked, Mapping) and "_" in ranked:  # what nobody moved
        raise UserError(f"value.ranker: {len(ranked['_'])} outputs were not ranked")
    return list(texts.values()), _ranks_of_groups([list(map(str, b)) for b in buckets], list(texts), "value.ranker")


def _is_item(item: Any) -> bool:
    return isinstance(item, Mapping) and "id" in item and any(item.get(key) is not None for key in ITEM_TEXT)


def _argilla(fields: Mapping[str, Any], responses: Any) -> Iterator[dict[str, Any]]:
    prompt = _prompt(fields)
    for person, value in _answers(responses):
        pairs = _name_ranks(value)
        names = _response_names(fields, [name for name, _ in pairs])
        by_rank: dict[int, list[str]] = {}
        for name, rank in pairs:
            by_rank.setdefault(rank, []).append(name)
        ranks = _ranks_of_groups([by_rank[rank] for rank in sorted(by_rank)], names, "ranking")
        yield {"prompt": prompt, "completions": [fields[name] for name in names], "ranks": ranks, "labeller": person}


def _answers(responses: Any) -> Iterator[tuple[str, Any]]:
    """Yield (person, value) of every submitted ranking."""
    if isinstance(responses, list):  # [{"user_id", "status", "values": {"ranking": {"value"}}}]
        for response in responses:
            values = response.get("values") if isinstance(response, Mapping) else None
            if isinstance(values, Mapping) and response.get("status") not in NO_JUDGEMENT:
                question: Any = values.get("ranking") or next(iter(values.values()), {})
                yield _person(response.get("user_id")), question.get("value")
        return
    flat = next((name for name in responses if str(name).endswith(".responses") and responses[name]), None)
    if flat is not None:  # columns ranking.responses, ranking.responses.users, ranking.responses.status
        users, states = (responses.get(f"{flat}.{more}") or () for more in ("users", "status"))
        for i, value in enumerate(responses[flat]):
            if i >= len(states) or states[i] not in NO_JUDGEMENT:
                yield _person(users[i] if i < len(users) else ""), value
        return
    listed = responses.get("ranking") or next((v for v in responses.values() if isinstance(v, list)), ())
    for response in listed if isinstance(listed, list) else ():
        if isinstance(response, Mapping) and response.get("status") not in NO_JUDGEMENT and response.get("value"):
            yield _person(response.get("user_id")), response["value"]


def _name_ranks(value: Any) -> list[tuple[str, int]]:
    """Return the names and ranks of a ranking in any of the ways it is written."""
    if isinstance(value, Mapping) and isinstance(value.get("value"), list) and isinstance(value.get("rank"), list):
        value = [{"value": name, "rank": rank} for name, rank in zip(value["value"], value["rank"], strict=False)]
    if not isinstance(value, list) or not value:
        raise UserError("ranking: a list of responses is expected, the best first")
    if all(isinstance(one, str) for one in value):
        return [(name, rank) for rank, name in enumerate(value)]
    if not all(isinstance(one, Mapping) and type(one.get("rank")) is int for one in value):
        raise UserError("ranking: each response needs a value and a rank")
    return [(str(one["value"]), one["rank"]) for one in value]


def _response_names(fields: Mapping[str, Any], named: Sequence[str]) -> list[str]:
    """Return the fields that were to be ranked: those named, and others that differ from them in their number only."""
    stems = {match[1] for name in named if (match := NUMBERED.match(name))}
    alike = [
        f for f in fields if (match := NUMBERED.match(str(f))) and match[1] in stems and isinstance(fields[f], str)
    ]
    missing = next((name for name in named if not isinstance(fields.get(name), str)), None)
    if missing is not None:
        raise UserError(f"ranking: a rank for {missing!r:.40}, which is no output of this record")
    return list(dict.fromkeys([*alike, *named]))


def _ranks_of_groups(groups: Sequence[Sequence[str]], names: Sequence[str], where: str) -> list[int]:
    """Return the rank of each name, 0 the best, from groups of tied names, the best first."""
    ranks: dict[str, int] = {}
    for group in groups:
        for name in group:
            if name in ranks:
                raise UserError(f"{where}: {name!r:.40} is ranked twice")
            if name not in names:
                raise UserError(f"{where}: a rank for {name!r:.40}, which is no output of this record")
        ranks |= dict.fromkeys(group, len(ranks))
    if missing := [name for name in names if name not in ranks]:
        raise UserError(f"{where}: no rank for {missing[0]!r:.40}; {len(ranks)} of {len(names)} outputs are ranked")
    return [ranks[name] for name in names]


def _prompt(values: Mapping[str, Any]) -> Any:
    name = next((name for name in PROMPT if values.get(name)), None)
    if name is None:
        raise UserError(f"no prompt in it ({', '.join(map(str, values))[:100]})")
    return values[name]


def _person(value: Any) -> str:
    if isinstance(value, Mapping):  # Label Studio's users, where they are written out
        value = value.get("email") or value.get("username") or value.get("id")
    return "" if value is None else str(value)

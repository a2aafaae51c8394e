"""Benchmarks of free answers from their files as published: IFEval, ELYZA-tasks-100, MT-bench, JEMHopQA.

IFEval has its own exact checks (instruction_checks.py). ELYZA and MT-bench are meant for a judge: give the task
`grader = { name = "model", model = "…" }`; without one, the overlap with the reference answer (F1) is counted, which
says little about quality. MT-bench's second turns need a first answer: they are asked where the file has a reference,
which stands as the assistant's turn.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.instruction_checks import CHECKS
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.published import YES_NO, build, field, placed
from kaiwa.lab.tasks.rows import JAPANESE
from kaiwa.lab.tasks.task import Grader, Item, Task

PLAIN = {"en": Prompt(), "ja": Prompt(language="ja")}


def ifeval(path: Path, n: int = 0) -> Task:
    """Load IFEval: key, prompt, instruction_id_list, kwargs. An answer is right if it follows every instruction."""
    items = []
    for i, where, row in placed(path):
        names, values = list(field(row, "instruction_id_list", where)), list(field(row, "kwargs", where))
        if len(names) != len(values) or not names:
            raise UserError(f"{where}: {len(names)} instructions and {len(values)} kwargs; one for each is expected")
        unknown = [name for name in names if name not in CHECKS]
        if unknown:
            raise UserError(f"{where}: no check for {unknown[0]!r}; there is {', '.join(CHECKS)}")
        options = [{k: v for k, v in (value or {}).items() if v is not None} for value in values]
        text = str(field(row, "prompt", where))
        answer = json.dumps({"prompt": text, "checks": list(zip(names, options, strict=True))}, ensure_ascii=False)
        items.append(Item(id=f"ifeval-{row.get('key', i)}", input=text, answer=answer))
    grader = Grader(name="instructions")
    return build("ifeval", items, n, "text", prompts=PLAIN, grader=grader, own_demos=False, max_tokens=512)


def elyza(path: Path, n: int = 0) -> Task:
    """Load ELYZA-tasks-100: input, output (the reference), eval_aspect (for a judge: {eval_aspect})."""
    items = []
    for i, where, row in placed(path):
        aspect = str(row.get("eval_aspect") or "")
        text, answer = str(field(row, "input", where)), str(field(row, "output", where))
        items.append(Item(id=f"elyza-{i}", input=text, answer=answer, columns={"eval_aspect": aspect}))
    grader = Grader(name="f1")
    return build("elyza-tasks-100", items, n, "text", prompts=PLAIN, grader=grader, own_demos=False, max_tokens=512)


def mt_bench(path: Path, n: int = 0) -> Task:
    """Load MT-bench: question_id, category, turns, reference. Both turns of a question are one cluster."""
    items = []
    left_out = 0
    for i, where, row in placed(path):
        turns = [str(turn) for turn in field(row, "turns", where)]
        references = [str(text) for text in row.get("reference") or ()]
        if not turns:
            raise UserError(f"{where}: no turns")
        id = f"mt-bench-{row.get('question_id', i)}"
        first = references[0] if references else ""
        items.append(Item(id=f"{id}-1", input=turns[0], answer=first, cluster=id))
        if len(turns) > 1 and first:
            talk = f"{turns[0]}\n\n{first}\n\n{turns[1]}"
            second = references[1] if len(references) > 1 else ""
            items.append(Item(id=f"{id}-2", input=talk, answer=second, cluster=id))
        else:
            left_out += len(turns) > 1
    if left_out:
        print(
            f"{path}: {left_out} second turns are left out: the file has no first answer to go on from", file=sys.stderr
        )
    grader = Grader(name="f1")
    return build("mt-bench", items, n, "text", prompts=PLAIN, grader=grader, own_demos=False, max_tokens=512)


def jemhopqa(path: Path, n: int = 0) -> Task:
    """Load JEMHopQA: question, answer (YES and NO as はい and いいえ too), derivations as the worked reasoning."""
    items = []
    yes, no = YES_NO["ja"]
    for i, where, row in placed(path):
        answer = str(field(row, "answer", where)).strip()
        gold = {"YES": f"{yes}\nYES", "NO": f"{no}\nNO"}.get(answer.upper(), answer)
        steps = " ".join("、".join(map(_flat, step)) + "。" for step in row.get("derivations") or ())
        question = str(field(row, "question", where))
        items.append(Item(id=str(row.get("qid", i)), input=question, answer=gold, reasoning=steps))
        if not JAPANESE.search(question):
            raise UserError(f"{where}: the question is not Japanese; is this JEMHopQA?")
    return build("jemhopqa", items, n, "word", language="ja", grader=Grader(name="one-of"), max_tokens=48)


def _flat(value: object) -> str:
    return "・".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

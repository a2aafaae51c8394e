"""Public benchmarks from files as published: GSM8K, MGSM, SST-2, JCommonsenseQA, BIG-Bench-Hard; the
others are in published.py and published_chat.py.

Nothing is downloaded. Demonstrations are the file's first rows, and the items follow; MGSM and BIG-Bench-Hard have
their own worked examples, which are used if found beside the file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks import published, published_chat
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.rows import read_rows, read_text
from kaiwa.lab.tasks.task import Grader, Item, Task

N_DEMOS = 16
LETTER = re.compile(r"\([A-Z]\)")
OPTION = re.compile(r"^\s*[(（]([A-Z])[)）]\s*(.+)$", re.MULTILINE)
LABEL = re.compile(r"^[^:：\n]{2,40}[:：]\s*")
LAST_SENTENCE = re.compile(r"(?<=[.。])\s*[^.。]+[.。]?\s*$|^[^.。]*[.。]?\s*$")
QUESTION = {
    "en": Prompt(input="Question: {input}", output_indicator="Answer:"),
    "ja": Prompt(input="質問: {input}", output_indicator="答え:", language="ja"),
}


def gsm8k(path: Path, n: int = 0) -> Task:
    """Load GSM8K: rows {"question","answer"}. The answer ends "#### 72"; calculator marks <<48/2=24>> are removed."""
    items = []
    for i, row in enumerate(read_rows(path)):
        reasoning, mark, answer = str(_read_column(row, "answer", path, i)).rpartition("####")
        if not mark:
            raise UserError(f"{path}, row {i + 1}: the answer has no '####' before its number")
        equations = " ".join(re.findall(r"<<(.*?)>>", reasoning))
        clean = " ".join(re.sub(r"<<.*?>>", "", reasoning).split())
        question = str(_read_column(row, "question", path, i))
        items.append(_item(f"gsm8k-{i}", question, answer.strip().replace(",", ""), clean, equations))
    return _task("gsm8k", items, n, "en", kind="number", grader=Grader(name="number"), max_tokens=160)


def mgsm(path: Path, n: int = 0) -> Task:
    """Load MGSM: the repository's mgsm_ja.tsv without a heading (question, number), or rows with question and
    answer_number.

    Rows of the training split have a worked answer too. The language follows from the name (mgsm_ja.tsv,
    ja/test-….parquet); a training split beside a test split gives the demonstrations.
    """
    match = re.search(r"(?:^|[_/-])(bn|de|en|es|fr|ja|ru|sw|te|th|zh)(?=[_./-])", "/".join(path.parts[-2:]))
    language = match[1] if match else "ja"
    items = _mgsm_items(path, language, "")
    train = path.with_name(path.name.replace("test", "train"))
    demos = _mgsm_items(train, language, "train-") if train != path and train.is_file() else []
    words = language if language in QUESTION else "en"
    return _task(
        f"mgsm-{language}",
        items,
        n,
        words,
        kind="number",
        grader=Grader(name="number"),
        max_tokens=160,
        demos=demos,
    )


def _mgsm_items(path: Path, language: str, mark: str) -> list[Item]:
    rows: list[tuple[str, str, str]] = []
    if path.suffix == ".tsv":
        for i, line in enumerate(_text(path).splitlines()):
            question, tab, answer = line.rpartition("\t")
            if not tab:
                raise UserError(f"{path}, row {i + 1}: no tab between question and answer")
            rows.append((question, answer, ""))
    else:
        for i, row in enumerate(read_rows(path)):
            question, answer = _read_column(row, "question", path, i), _read_column(row, "answer_number", path, i)
            rows.append((question, answer, str(row.get("answer") or "")))
    items = []
    for i, (question, answer, worked) in enumerate(rows):
        if worked:  # only the training split says "問題：" and "ステップごとの答え：" in the text
            question, worked = LABEL.sub("", question), LABEL.sub("", worked)
            worked = LAST_SENTENCE.sub("", worked) if answer.strip() in LAST_SENTENCE.findall(worked)[-1] else worked
        id = f"mgsm-{language}-{mark}{i}"
        items.append(_item(id, question, answer.strip().replace(",", ""), worked.strip()))
    return items


def sst2(path: Path, n: int = 0) -> Task:
    """Load SST-2: lines "1 text" (as in the few-shot papers), or GLUE's sentence and label columns."""
    rows: list[tuple[str, str]] = []
    if path.suffix in (".tsv", ".csv", ".jsonl", ".parquet"):
        rows = [
            (str(_read_column(row, "sentence", path, i)), str(_read_column(row, "label", path, i)))
            for i, row in enumerate(read_rows(path))
        ]
    else:
        for i, line in enumerate(_text(path).splitlines()):
            label, _, text = line.partition(" ")
            if label not in ("0", "1"):
                raise UserError(f"{path}, line {i + 1}: begins with {label!r}; 0 or 1 and the text are expected")
            rows.append((text, label))
    rows = _interleave(rows)
    names = ("negative", "positive")
    items = [
        Item(id=f"sst2-{i}", input=text.strip(), answer=names[int(label)], choices=("positive", "negative"))
        for i, (text, label) in enumerate(rows)
    ]
    prompt = Prompt(
        instruction="Is the review positive or negative?", input="Review: {input}", output_indicator="Label:"
    )
    return _task("sst2", items, n, "en", kind="choice", prompt=prompt, max_tokens=24)


def jcommonsenseqa(path: Path, n: int = 0) -> Task:
    """Load JCommonsenseQA of JGLUE: question, choice0 to choice4, label."""
    items = []
    for i, row in enumerate(read_rows(path)):
        choices = tuple(str(_read_column(row, f"choice{c}", path, i)) for c in range(5))
        listed = "、".join(choices)
        label = int(_read_column(row, "label", path, i))
        question = f"{_read_column(row, 'question', path, i)} ({listed})"
        items.append(Item(id=f"jcqa-{row.get('q_id', i)}", input=question, answer=choices[label], choices=choices))
    return _task("jcommonsenseqa", items, n, "ja", kind="choice", max_tokens=24)


def big_bench_hard(path: Path, n: int = 0) -> Task:
    """Load a BIG-Bench-Hard task: {"examples": [{"input","target"}]} or one object per line.

    Lettered options are answered by letter, "(B)", as published. The repository's cot-prompts/NAME.txt, beside the
    file's folder, gives the task's instruction and three demonstrations with their reasoning, as in Suzgun et al.
    (2022).
    """
    items = []
    for i, row in enumerate(read_rows(path)):
        text, target = _read_column(row, "input", path, i), _read_column(row, "target", path, i).strip()
        items.append(_bbh_item(f"{path.stem}-{i}", text, target))
    worked = path.parent.parent / "cot-prompts" / f"{path.stem}.txt"
    instruction, demos = _bbh_worked(worked) if worked.is_file() else ("", [])
    answers = tuple(dict.fromkeys(item.answer for item in (*items, *demos)))
    if not any(item.choices for item in items) and len(answers) <= 6:
        items, demos = ([dataclasses.replace(item, choices=answers) for item in group] for group in (items, demos))
    kind = "choice" if all(item.choices for item in items) else "word"
    prompt = dataclasses.replace(QUESTION["en"], instruction=instruction)
    return _task(path.stem, items, n, "en", kind=kind, max_tokens=48, prompt=prompt, demos=demos)


def _bbh_item(id: str, text: str, target: str, reasoning: str = "") -> Item:
    letters = tuple(f"({letter})" for letter, _ in OPTION.findall(text)) if LETTER.fullmatch(target) else ()
    return Item(id=id, input=text.strip(), answer=target, choices=letters, reasoning=reasoning)


def _bbh_worked(path: Path) -> tuple[str, list[Item]]:
    """Read worked examples: a canary line, dashes, the instruction, then "Q: …", "A: Let's think step by step." and
    "So the answer is …"."""
    head, *blocks = re.split(r"^Q: ", _text(path).rpartition("-----\n")[2], flags=re.MULTILINE)
    demos = []
    for i, block in enumerate(blocks):
        question, mark, worked = block.partition("\nA:")
        conclusion = re.search(r"So the answer is (.+?)\.?\s*$", worked)
        if not mark or conclusion is None:
            raise UserError(f"{path}: example {i + 1} has no 'A:' or does not end in 'So the answer is …'")
        reasoning = " ".join(worked[: conclusion.start()].replace("Let's think step by step.", "").split())
        demos.append(_bbh_item(f"{path.stem}-worked-{i}", question, conclusion[1], reasoning))
    return head.strip(), demos


LOADERS: Mapping[str, Callable[[Path, int], Task]] = {
    "gsm8k": gsm8k,
    "mgsm": mgsm,
    "sst2": sst2,
    "jcommonsenseqa": jcommonsenseqa,
    "big-bench-hard": big_bench_hard,
    "mmlu": published.mmlu,
    "jnli": published.jnli,
    "jsquad": published.jsquad,
    "commonsenseqa": published.commonsenseqa,
    "strategyqa": published.strategyqa,
    "aqua": published.aqua,
    "svamp": published.svamp,
    "big-bench": published.big_bench,
    "truthfulqa": published.truthfulqa,
    "truthfulqa-generation": published.truthfulqa_generation,
    "ifeval": published_chat.ifeval,
    "elyza-tasks-100": published_chat.elyza,
    "mt-bench": published_chat.mt_bench,
    "jemhopqa": published_chat.jemhopqa,
}


def load_benchmark(name: str, path: Path, n: int = 0) -> Task:
    """Load a benchmark by its loader's name, at most n items (0: all). UserError names file and row."""
    if name not in LOADERS:
        raise UserError(f"no loader {name!r}{did_you_mean(name, LOADERS)}")
    return LOADERS[name](path, n)


def _task(
    name: str,
    items: Sequence[Item],
    n: int,
    language: str,
    *,
    kind: str,
    max_tokens: int,
    prompt: Prompt | None = None,
    grader: Grader | None = None,
    demos: Sequence[Item] = (),
) -> Task:
    """Build the task; without demonstrations, the first items become demonstrations."""
    first = 0 if demos else min(N_DEMOS, len(items) // 2)
    return Task(
        name=name,
        language=language,
        kind=kind,
        prompt=prompt or QUESTION[language],
        demos=tuple(demos or items[:first]),
        items=tuple(items[first : first + n if n else None]),
        grader=grader or Grader(),
        max_tokens=max_tokens,
    )


def _item(id: str, question: str, answer: str, reasoning: str = "", equation: str = "") -> Item:
    return Item(id=id, input=question.strip(), answer=answer, reasoning=reasoning, equation=equation)


def _read_column(row: Mapping[str, object], column: str, path: Path, i: int) -> str:
    if row.get(column) is None:
        raise UserError(f"{path}, row {i + 1}: no {column!r}; there is {', '.join(map(str, row)) or 'nothing'}")
    return str(row[column])


def _interleave(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Order rows by taking a row of each label in turn: files are often sorted by label, and the first rows need all
    labels.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        groups.setdefault(row[1], []).append(row)
    mixed = []
    for i in range(max(map(len, groups.values()), default=0)):
        mixed += [group[i] for group in groups.values() if i < len(group)]
    return mixed


def _text(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return read_text(path)

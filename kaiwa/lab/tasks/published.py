"""Further benchmarks from their files as published: questions with choices, reading, sums, free answers, chats.

    mmlu (MMLU, JMMLU) · jnli · jsquad · commonsenseqa · strategyqa · aqua · svamp (SVAMP, MultiArith) · big-bench ·
    truthfulqa · truthfulqa-generation · ifeval · elyza-tasks-100 · mt-bench-ja · jemhopqa

Nothing is downloaded. A row that does not fit is refused with file and row. Demonstrations are the file's own where it
has them (MMLU's dev folder, a train file beside a test file), else its first rows; files with a grader of their own
(IFEval, ELYZA, MT-bench) have none. Several right answers stand on lines of their own (graders one-of, best-f1).
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.rows import JAPANESE, read_rows, read_text
from kaiwa.lab.tasks.task import Grader, Item, Task

N_DEMOS = 5
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = Mapping[str, Any]
LETTERED = {
    "en": Prompt(input="{input}", output_indicator="Answer:"),
    "ja": Prompt(input="{input}", output_indicator="答え:", language="ja"),
}
ASK = {
    "en": Prompt(input="Question: {input}", output_indicator="Answer:"),
    "ja": Prompt(input="質問: {input}", output_indicator="答え:", language="ja"),
}
YES_NO = {"en": ("yes", "no"), "ja": ("はい", "いいえ")}


def field(row: Row, names: str, where: str) -> Any:
    """Return the first of several spellings of a field that a row has. UserError with the row's place."""
    for name in names.split("|"):
        if row.get(name) is not None:
            return row[name]
    names_there = ", ".join(map(str, row)) or "nothing"
    raise UserError(f"{where}: no {' or '.join(map(repr, names.split('|')))}; there is {names_there}")


def placed(path: Path) -> Iterator[tuple[int, str, Row]]:
    """Yield (number from 0, place, row) of a file. UserError for a row that is no object."""
    for i, row in enumerate(read_rows(path)):
        where = f"{path}, row {i + 1}"
        if not isinstance(row, Mapping):
            raise UserError(f"{where}: an object is expected, not {row!r:.40}")
        yield i, where, row


def with_letters(question: str, texts: Sequence[str], right: Any, where: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the question with its lettered choices, the right letter, and the letters.

    right: a letter, a number from 0, or the choice's text. UserError where it is none of the choices.
    """
    letters = tuple(LETTERS[: len(texts)])
    if len(texts) < 2 or len(texts) > len(LETTERS):
        raise UserError(f"{where}: {len(texts)} choices; between 2 and {len(LETTERS)} are expected")
    text = str(right).strip()
    if isinstance(right, int) and not isinstance(right, bool) and 0 <= right < len(texts):
        letter = letters[right]
    elif text.upper() in letters:
        letter = text.upper()
    elif text.isdigit() and int(text) < len(texts):
        letter = letters[int(text)]
    elif text in texts:
        letter = letters[list(texts).index(text)]
    else:
        raise UserError(f"{where}: the right answer {text[:40]!r} is none of the {len(texts)} choices")
    lines = "\n".join(f"{name}. {choice}" for name, choice in zip(letters, texts, strict=True))
    return f"{question.strip()}\n{lines}", letter, letters


def language_of(items: Sequence[Item]) -> str:
    return "ja" if sum(bool(JAPANESE.search(item.input)) for item in items) > len(items) / 2 else "en"


def build(name: str, items: Sequence[Item], n: int, kind: str, **more: Any) -> Task:
    """Build the task; without demonstrations of its own, the first items become demonstrations."""
    if not items:
        raise UserError(f"{name}: no items; the file is empty")
    demos: Sequence[Item] = more.pop("demos", ())
    own = more.pop("own_demos", True)
    first = 0 if demos or not own else min(N_DEMOS, len(items) // 2)
    language = more.pop("language", "") or language_of(items)
    prompts = more.pop("prompts", ASK)
    return Task(
        name=name, language=language, kind=kind, prompt=more.pop("prompt", None) or prompts[language],
        demos=tuple(demos or items[:first]), items=tuple(items[first : first + n if n else None]),
        grader=more.pop("grader", Grader()), **more,
    )  # fmt: skip


def mmlu(path: Path, n: int = 0) -> Task:
    """Load MMLU or JMMLU: CSV without a heading (question, four choices, letter), or rows with question, choices,
    answer. The five demonstrations are those of ../dev/NAME_dev.csv, if it is there.
    """
    dev = path.parent.parent / "dev" / path.name.replace("_test", "_dev").replace("_val", "_dev")
    demos = _mmlu_items(dev, "dev-") if dev != path and dev.is_file() else []
    return build(path.stem, _mmlu_items(path, ""), n, "choice", prompts=LETTERED, demos=demos, max_tokens=16)


def _mmlu_items(path: Path, mark: str) -> list[Item]:
    rows: list[tuple[str, str, Sequence[str], Any]] = []
    if path.suffix == ".csv":
        for i, cells in enumerate(csv.reader(io.StringIO(read_text(path), newline="")), 1):
            where = f"{path}:{i}"
            if not cells or (i == 1 and cells[0].strip().lower() == "question"):
                continue
            if len(cells) != 6:
                raise UserError(f"{where}: {len(cells)} fields; question, four choices and a letter are expected")
            rows.append((where, cells[0], cells[1:5], cells[5]))
    else:
        for _, where, row in placed(path):
            choices = row["choices"] if row.get("choices") else [field(row, c, where) for c in "ABCD"]
            rows.append(
                (where, str(field(row, "question", where)), list(map(str, choices)), field(row, "answer", where))
            )
    items = []
    for i, (where, question, choices, right) in enumerate(rows):
        text, letter, letters = with_letters(question, [c.strip() for c in choices], right, where)
        items.append(Item(id=f"{mark}{path.stem}-{i}", input=text, answer=letter, choices=letters))
    return items


def jnli(path: Path, n: int = 0) -> Task:
    """Load JNLI of JGLUE: sentence1, sentence2, label. Pairs about one picture (yjcaptions_id) are a cluster."""
    labels = ("entailment", "contradiction", "neutral")
    items = []
    for i, where, row in placed(path):
        label = field(row, "label", where)
        right = labels[label] if isinstance(label, int) and label in (0, 1, 2) else str(label)
        if right not in labels:
            raise UserError(f"{where}: the label {right!r} is none of {', '.join(labels)}")
        text = f"前提: {field(row, 'sentence1', where)}\n仮説: {field(row, 'sentence2', where)}"
        picture = str(row.get("yjcaptions_id") or "").partition("-")[0]
        id = f"jnli-{row.get('sentence_pair_id', i)}"
        items.append(Item(id=id, input=text, answer=right, choices=labels, cluster=picture))
    prompt = Prompt("前提と仮説の関係を entailment、contradiction、neutral から選んでください。", output_indicator="関係:", language="ja")  # fmt: skip  # noqa: E501
    return build("jnli", items, n, "choice", language="ja", prompt=prompt, max_tokens=16)


def jsquad(path: Path, n: int = 0) -> Task:
    """Load JSQuAD: SQuAD's nested file, or rows with context, question, answers. A text's questions are a cluster."""
    rows: list[tuple[str, Row]] = []
    text = read_text(path) if path.suffix == ".json" else ""
    value = json.loads(text) if text.lstrip().startswith("{") and '"paragraphs"' in text else None
    if value is None:
        rows = [(where, row) for _, where, row in placed(path)]
    else:
        for article in value.get("data", ()):
            for paragraph in article.get("paragraphs", ()):
                rows += [
                    (f"{path}, {qa.get('id')}", {"context": paragraph["context"], **qa}) for qa in paragraph["qas"]
                ]
    items = []
    for i, (where, row) in enumerate(rows):
        if row.get("is_impossible"):
            continue
        answers = field(row, "answers", where)
        texts = answers["text"] if isinstance(answers, Mapping) else [answer["text"] for answer in answers]
        context = str(field(row, "context", where)).replace("[SEP]", "\n").strip()
        question = f"{context}\n\n質問: {field(row, 'question', where)}"
        gold = "\n".join(dict.fromkeys(map(str, texts)))
        items.append(Item(id=str(row.get("id", i)), input=question, answer=gold, cluster=context[:200]))
    prompt = Prompt("文章を読んで、質問の答えを文章から抜き出してください。", output_indicator="答え:", language="ja")
    return build("jsquad", items, n, "word", language="ja", prompt=prompt, grader=Grader(name="best-f1"), max_tokens=32)


def commonsenseqa(path: Path, n: int = 0) -> Task:
    """Load CommonsenseQA: question.stem with question.choices, or the flat rows with choices.label and choices.text."""
    items = []
    for i, where, row in placed(path):
        question = field(row, "question", where)
        nested = isinstance(question, Mapping)
        choices = field(question if nested else row, "choices", where)
        texts = list(choices["text"]) if isinstance(choices, Mapping) else [choice["text"] for choice in choices]
        stem = str(field(question, "stem", where) if nested else question)
        text, letter, letters = with_letters(stem, texts, field(row, "answerKey", where), where)
        items.append(Item(id=str(row.get("id", i)), input=text, answer=letter, choices=letters))
    return build("commonsenseqa", items, n, "choice", prompts=LETTERED, max_tokens=16)


def strategyqa(path: Path, n: int = 0) -> Task:
    """Load StrategyQA: question, answer (true or false), facts as the worked reasoning."""
    items = []
    for i, where, row in placed(path):
        answer = field(row, "answer", where)
        if not isinstance(answer, bool) and str(answer).lower() not in ("true", "false", "yes", "no"):
            raise UserError(f"{where}: the answer {answer!r:.40} is neither true nor false")
        question = str(field(row, "question|input", where))
        yes, no = YES_NO["ja" if JAPANESE.search(question) else "en"]
        right = yes if str(answer).lower() in ("true", "yes") else no
        facts = " ".join(map(str, row.get("facts") or ()))
        items.append(Item(id=str(row.get("qid", i)), input=question, answer=right, choices=(yes, no), reasoning=facts))
    return build("strategyqa", items, n, "choice", max_tokens=16)


def aqua(path: Path, n: int = 0) -> Task:
    """Load AQuA-RAT: question, options such as "A)21", correct, and the rationale as reasoning."""
    items = []
    for i, where, row in placed(path):
        options = [str(option) for option in field(row, "options", where)]
        texts = [option.partition(")")[2].strip() if option[1:2] == ")" else option for option in options]
        question = str(field(row, "question", where))
        text, letter, letters = with_letters(question, texts, str(field(row, "correct", where)), where)
        why = " ".join(str(row.get("rationale") or "").split())
        items.append(Item(id=f"aqua-{i}", input=text, answer=letter, choices=letters, reasoning=why))
    return build("aqua", items, n, "choice", prompts=LETTERED, max_tokens=160)


def svamp(path: Path, n: int = 0) -> Task:
    """Load SVAMP (Body, Question, Equation, Answer) or MultiArith and its kin (sQuestion, lEquations, lSolutions)."""
    items = []
    for i, where, row in placed(path):
        if "sQuestion" in row:
            answers = field(row, "lSolutions", where)
            if not answers:
                raise UserError(f"{where}: lSolutions is empty")
            question, answer = str(row["sQuestion"]), answers[0]
            equation = " ".join(row.get("lEquations") or ()).removeprefix("X=")
        else:
            body = str(field(row, "Body|body", where)).strip()
            question = (
                f"{body}{'' if body.endswith(('.', '。', '?')) else '.'} {field(row, 'Question|question', where)}"
            )
            answer, equation = field(row, "Answer|answer", where), str(row.get("Equation") or "")
        number = f"{float(str(answer).replace(',', '')):.10g}" if _is_number(answer) else None
        if number is None:
            raise UserError(f"{where}: the answer {answer!r:.40} is no number")
        id = str(row.get("ID", row.get("iIndex", i)))
        items.append(Item(id=id, input=question.strip(), answer=number, equation=equation))
    return build(path.stem, items, n, "number", grader=Grader(name="number"), max_tokens=160)


def _is_number(value: Any) -> bool:
    try:
        float(str(value).replace(",", ""))
    except ValueError:
        return False
    return True


def big_bench(path: Path, n: int = 0) -> Task:
    """Load a BIG-bench task.json: examples with target_scores (lettered choices) or target (one or several)."""
    value = json.loads(read_text(path))
    examples = value.get("examples") if isinstance(value, dict) else None
    if not isinstance(examples, list):
        raise UserError(f'{path}: {{"examples": […]}} is expected')
    prefix = str(value.get("task_prefix") or "")
    items = []
    for i, row in enumerate(examples):
        where = f"{path}, example {i + 1}"
        question = prefix + str(field(row, "input", where))
        if row.get("target_scores"):
            scores = row["target_scores"]
            best = max(scores, key=lambda text: float(scores[text]))
            if sum(float(score) == float(scores[best]) for score in scores.values()) > 1:
                raise UserError(f"{where}: several targets have the highest score, so that none is the right one")
            text, letter, letters = with_letters(question, list(scores), list(scores).index(best), where)
            items.append(Item(id=f"{path.stem}-{i}", input=text, answer=letter, choices=letters))
        else:
            target = field(row, "target", where)
            gold = "\n".join(map(str, target)) if isinstance(target, list) else str(target)
            items.append(Item(id=f"{path.stem}-{i}", input=question.strip(), answer=gold))
    lettered = all(item.choices for item in items)
    if not lettered and any(item.choices for item in items):
        raise UserError(f"{path}: some examples have target_scores and some have target; put them into two files")
    name = str(value.get("name") or path.parent.name)
    grader = Grader() if lettered else Grader(name="one-of")
    return build(name, items, n, "choice" if lettered else "word", prompts=LETTERED, grader=grader, max_tokens=32)


def truthfulqa(path: Path, n: int = 0) -> Task:
    """Load TruthfulQA's single-true multiple choice: mc_task.json (mc1_targets), or the CSV's best and wrong answers.

    The choices are in an order drawn from the row's number: the file has the right one first.
    """
    items = []
    for i, where, row in placed(path):
        question = str(field(row, "question|Question", where))
        if "mc1_targets" in row:
            targets = row["mc1_targets"]
            pairs = dict(zip(targets["choices"], targets["labels"], strict=True)) if "choices" in targets else targets
            texts, right = list(pairs), next((text for text, label in pairs.items() if label), "")
        else:
            right = str(field(row, "Best Answer", where)).strip()
            texts = [right, *split_answers(field(row, "Incorrect Answers", where))]
        texts = list(dict.fromkeys(texts))
        random.Random(i).shuffle(texts)
        text, letter, letters = with_letters(question, texts, right, where)
        items.append(Item(id=f"truthfulqa-{i}", input=text, answer=letter, choices=letters))
    return build("truthfulqa", items, n, "choice", prompts=LETTERED, own_demos=False, max_tokens=16)


def truthfulqa_generation(path: Path, n: int = 0) -> Task:
    """Load TruthfulQA's generation task: an answer is right if it is nearer to a true answer than to any false one."""
    items = []
    for i, where, row in placed(path):
        true = split_answers(field(row, "Correct Answers|correct_answers", where))
        false = split_answers(field(row, "Incorrect Answers|incorrect_answers", where))
        if not true or not false:
            raise UserError(f"{where}: correct and incorrect answers are both needed")
        answer = json.dumps({"true": true, "false": false}, ensure_ascii=False)
        items.append(Item(id=f"truthfulqa-{i}", input=str(field(row, "question|Question", where)), answer=answer))
    grader = Grader(name="nearer")
    return build("truthfulqa-generation", items, n, "text", grader=grader, own_demos=False, max_tokens=64)


def split_answers(value: Any) -> list[str]:
    """Return the answers of a list, or of a text with semicolons between them."""
    parts = value if isinstance(value, (list, tuple)) else str(value).split(";")
    return [text for part in parts if (text := str(part).strip())]

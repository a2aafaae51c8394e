"""ReAct (Yao et al. 2023, section 2): thought, action, observation, and again, until Finish[answer].

The transcript grows in one prompt, so each step computes only the new part. Where a line is no action, the action is
forced by a second call that begins "Action i:" (as the paper's own program does), and counted: the valid-action rate is
a result. Controls: act only (no thoughts), no tools (the plain answer). The prompt's example is our own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.program import Program, ProgramResult
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.tasks.tools import Tool, ToolError, make_toolbox
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import Decoding, Technique, extract_result
from kaiwa.text.records import Conversation, Message

ACTION = re.compile(r"(?P<tool>\w+)\s*[\[［](?P<input>.*?)[\]］]", re.DOTALL)
NAMES = {"計算": "Calc", "日付": "Date", "検索": "Search", "参照": "Lookup", "終了": "Finish"}
LINES = {"en": ("Thought", "Action", "Observation"), "ja": ("思考", "行動", "観察")}
INSTRUCTION = {
    "en": "Answer the question in steps. Each step is a thought, then one action in the form Name[input]."
    " The actions are {tools} and Finish[answer].",
    "ja": "質問に段階的に答えてください。各段階は思考と、名前[入力] の形の行動ひとつです。"
    "行動は {tools} と Finish[答え] です。",
}
Shot = tuple[str, tuple[tuple[str, str, str], ...]]  # question, (thought, action, observation) of each step
SHOTS: Mapping[str, tuple[Shot, ...]] = {
    "en": (
        (
            "Question: A box holds 12 pens. How many pens are in 7 boxes?",
            (("I multiply 12 by 7.", "Calc[12 * 7]", "84"), ("The answer is 84.", "Finish[84]", "")),
        ),
        (
            "Question: Rosa had 31 stamps and gave away 9. How many are left?",
            (("I take 9 from 31.", "Calc[31 - 9]", "22"), ("The answer is 22.", "Finish[22]", "")),
        ),
    ),
    "en search": (
        (
            "Question: What does Olun do for a living?",
            (
                ("I look for Olun.", "Search[Olun]", "Olun is a ferryman. Olun lives on Reed Bank."),
                ("Olun is a ferryman.", "Finish[ferryman]", ""),
            ),
        ),
        (
            "Question: Where does Tavira live?",
            (
                ("I look for Tavira.", "Search[Tavira]", "Tavira is a glazier. Tavira lives on Fox Steps."),
                ("Tavira lives on Fox Steps.", "Finish[Fox Steps]", ""),
            ),
        ),
    ),
    "ja search": (
        (
            "質問: オルンさんの仕事は何ですか。",
            (
                ("オルンを検索します。", "Search[オルン]", "オルンは渡し守です。オルンは葦の岸に住んでいます。"),
                ("オルンは渡し守です。", "Finish[渡し守]", ""),
            ),
        ),
        (
            "質問: タヴィラさんはどこに住んでいますか。",
            (
                ("タヴィラを検索します。", "Search[タヴィラ]", "タヴィラは硝子屋です。タヴィラは狐坂に住んでいます。"),
                ("タヴィラは狐坂に住んでいます。", "Finish[狐坂]", ""),
            ),
        ),
    ),
    "ja": (
        (
            "質問: 一箱にペンが12本あります。7箱では何本ですか。",
            (("12に7を掛けます。", "Calc[12 * 7]", "84"), ("答えは84です。", "Finish[84]", "")),
        ),
        (
            "質問: 切手が31枚あり、9枚あげました。残りは何枚ですか。",
            (("31から9を引きます。", "Calc[31 - 9]", "22"), ("答えは22です。", "Finish[22]", "")),
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReAct:
    """`texts`: the texts that Search looks through. `thoughts` False: the act-only arm. At most `steps` actions.

    `form` "text": the transcript is continued as plain text, as in the paper, whatever the task's form is.
    """

    texts: tuple[str, ...] = ()
    thoughts: bool = True
    steps: int = 4
    max_tokens: int = 48
    form: str = ""

    @property
    def name(self) -> str:
        return "ReAct" if self.thoughts else "act only"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return f"Finish[{demo.answer}]"

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        thought, action, observation = LINES.get(task.language, LINES["en"])
        tools = make_toolbox(self.texts)
        text = self._opening(task, item, tools)
        notes: dict[str, Any] = {"actions": 0, "forced": 0, "invalid": 0}
        for i in range(1, self.steps + 1):
            head = f"{thought} {i}:" if self.thoughts else f"{action} {i}:"
            (reply,) = yield (
                decoding.call(self._send(task, text + head), self.max_tokens, (f"\n{observation}", "\n\n")),
            )
            written = reply.text.strip()
            match = ACTION.search(written)
            if match is None and self.thoughts:
                notes["forced"] += 1
                written = f"{written.splitlines()[0] if written else ''}\n{action} {i}:"
                (reply,) = yield (decoding.call(self._send(task, f"{text}{head} {written}"), 24, ("\n",)),)
                written = f"{written} {reply.text.strip()}"
                match = ACTION.search(reply.text)
            text += f"{head} {written}\n"
            if match is None:
                notes["invalid"] += 1
                break
            notes["actions"] += 1
            tool, tool_input = NAMES.get(match["tool"], match["tool"]), match["input"]
            if tool == "Finish":
                notes["transcript"] = text
                result = extract_result(task, item, tool_input)
                return ProgramResult(text=tool_input, answer=result.answer, extracted=True, notes=notes)
            text += f"{observation} {i}: {observe(tools, tool, tool_input)}\n"
        notes["transcript"] = text
        return ProgramResult(text=text, answer=None, extracted=True, notes=notes)

    def _opening(self, task: Task, item: Item, tools: Mapping[str, Tool]) -> str:
        language = task.language if task.language in LINES else "en"
        thought, action, observation = LINES[language]
        lines = [INSTRUCTION[language].format(tools=", ".join(f"{name}[…]" for name in tools))]
        for question, steps in SHOTS[f"{language} search" if "Search" in tools else language]:
            lines += ["", question]
            for i, (idea, act, result) in enumerate(steps, 1):
                lines += [f"{thought} {i}: {idea}"] if self.thoughts else []
                lines += [f"{action} {i}: {act}"] + ([f"{observation} {i}: {result}"] if result else [])
        label = "質問" if language == "ja" else "Question"
        return "\n".join([*lines, "", f"{label}: {item.input}"]) + "\n"

    def _send(self, task: Task, text: str) -> Conversation | str:
        return text if (self.form or task.form) == "text" else (Message("user", text),)

    def controls(self) -> Mapping[str, Technique]:
        act_only = ReAct(texts=self.texts, thoughts=False, steps=self.steps, form=self.form)
        return {"act only": act_only, "no tools": ZeroShot()}


def observe(tools: Mapping[str, Tool], name: str, tool_input: str) -> str:
    """Return a tool's answer; an unknown tool or a ToolError is an observation too. UserError for a tool that
    breaks.
    """
    if name not in tools:
        return f"there is no action {name}; use {', '.join(tools)} or Finish"
    try:
        return tools[name](tool_input)[:400]
    except ToolError as error:
        return str(error)
    except Exception as error:
        raise UserError(f"tool {name}[{tool_input[:60]}] raised {type(error).__name__}: {error}") from error

"""defend: what a defence does and costs, thresholds from benign texts, models trained to defend themselves."""

from __future__ import annotations

import os
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.commands.console import table
from kaiwa.commands.talk import read_words
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.defend.defence import Stack
    from kaiwa.defend.parse import DefenceFile
    from kaiwa.text.chat_model import ChatModel

USAGE = """usage: kaiwa defend COMMAND [options]

  list        the defences by name, with their options
  show        what a defence makes of a request: kaiwa defend show delimiters+sandwich --text "Hello"
  calibrate   thresholds from benign texts: kaiwa defend calibrate FILE.toml --benign TEXTS.txt
  train       a model that defends itself: kaiwa defend train TARGET.toml --model MODEL

A defence is a name such as delimiters+canary_filter, or a TOML file (docs/defend.md); kaiwa up --defence FILE runs it.
"""
SHOW_USAGE = """usage: kaiwa defend show DEFENCE|FILE.toml [--system TEXT] [--text TEXT] [--reply TEXT] [--secret TEXT]
                         [--model MODEL] [--url URL] [--api-key-env NAME]

--text     what a user sends; --reply: what a model would answer; --secret: for the canary filter
--model    who judges, for detector and perplexity
"""
CALIBRATE_USAGE = """usage: kaiwa defend calibrate DEFENCE|FILE.toml --benign TEXTS [--false-block SHARE]
                         [--model MODEL] [--url URL] [--api-key-env NAME]

Prints the thresholds at which at most a SHARE (default 0.05) of texts like these is refused, as lines for the file.
--benign   a text file, one text a line, or JSONL with "text" or "messages"
--model    who judges (default: the file's, or smollm2-135m-instruct)
"""
TRAIN_USAGE = """usage: kaiwa defend train TARGET [--model MODEL] [--method dpo|supervised] [--n N] [--seed S]
                         [--held-out FILE] [--out FILE.jsonl] [--epochs N] [--url URL] [--api-key-env NAME]

Makes examples from a red-team target (its system prompt, secrets, rules, documents; a file, or an example by name such
as keeper.en) and trains on them by the fine-tuning API: of the server at --url (such as http://127.0.0.1:7860/v1), or
of one that runs as long as this command.
The trained model stands in `kaiwa models` beside the untrained one.
--method    dpo (default): preferences, as SecAlign; supervised: demonstrations, as StruQ
--n         examples (default 300), half of them without an attack
--held-out  more attacks that will be measured, one a line: wordings like them, or like the red team's, are not
            trained on
--out       keeps the examples
"""


def defend(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    commands = {"list": list_all, "show": show, "calibrate": calibrate, "train": train_words}
    if words[0] not in commands:
        raise UserError(f"no command 'defend {words[0]}'{did_you_mean(words[0], commands)}")
    commands[words[0]](words[1:])


def list_all(words: list[str]) -> None:
    import dataclasses

    from kaiwa.defend.parse import PARTS

    rows = [["name", "options", "what"]]
    for name, part in PARTS.items():
        assert isinstance(part, type)
        fields = [f for f in dataclasses.fields(part) if f.name not in ("model", "seen")]
        told = ", ".join(f"{f.name}={f.default}" if f.default != "" else f.name for f in fields)
        rows.append([name, told, (part.__doc__ or "").strip().splitlines()[0]])
    print(table(rows, lambda i: "<"))


def show(words: list[str]) -> None:
    kinds: dict[str, type] = {"system": str, "text": str, "reply": str, "secret": str}
    name, options = _read(words, kinds, SHOW_USAGE)
    if not name:
        return
    from kaiwa.defend.defence import Block, shown
    from kaiwa.text.records import Message

    described = _described(name, options)
    secrets = described.secrets or ((options["secret"],) if "secret" in options else ())
    system = described.system or options.get("system", "")
    session = _stack(described, options).session(seed=0, secrets=secrets)
    said = (Message("user", options.get("text", "Hello, who are you?")),)
    asked = (Message("system", system), *said) if system else said
    began = time.perf_counter()
    made = session.request(asked)
    spent = 1000 * (time.perf_counter() - began)
    if isinstance(made, Block):
        print(f"refused ({made.reason}): {made.reply}")
        print(f"{spent:.2f} ms", file=sys.stderr)
        return
    print("\n".join(f"{message.role}: {message.content}" for message in made))
    if "reply" in options:
        began = time.perf_counter()
        told = list(shown(session.reply(), options["reply"]))
        spent += 1000 * (time.perf_counter() - began)
        print(f"reply: {''.join(text for text, _ in told)}")
    added = sum(len(message.content) for message in made) - sum(len(message.content) for message in asked)
    print(f"{added} characters added, {spent:.2f} ms", file=sys.stderr)


def calibrate(words: list[str]) -> None:
    kinds: dict[str, type] = {"benign": str, "false-block": float}
    name, options = _read(words, kinds, CALIBRATE_USAGE)
    if not name:
        return
    if "benign" not in options:
        raise UserError("--benign TEXTS is needed: texts like those that people will send")
    from kaiwa.defend.calibrate import Scored, calibrated
    from kaiwa.defend.parse import written

    texts = benign_texts(Path(options["benign"]))
    described = _described(name, options)
    stack, named = _stack(described, options), [part for part, _ in written(described.defence, name)]
    if not any(isinstance(part, Scored) for part in stack.parts):
        raise UserError(f"{name}: no part has a threshold; detector, perplexity and similarity have")
    made = calibrated(stack, texts, options.get("false-block", 0.05))
    for part_name, part in zip(named, made.parts, strict=True):
        if isinstance(part, Scored):
            print(f"[{part_name}]\nthreshold = {part.threshold!r}")


def benign_texts(path: Path) -> list[str]:
    """One text a line, or of each JSONL row the text or the last user's message. UserError where there is none."""
    from kaiwa.text.records import conversation, read_jsonl

    if path.suffix == ".jsonl":
        texts = []
        for row in read_jsonl(path):
            said = [m.content for m in conversation(row["messages"]) if m.role == "user"] if "messages" in row else []
            texts.append(said[-1] if said else str(row.get("text", "")))
    else:
        try:
            texts = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); give a UTF-8 text file") from None
    found = [text for text in texts if text.strip()]
    if not found:
        raise UserError(f"{path}: no texts in it; one a line is expected")
    return found


def train_words(words: list[str]) -> None:
    kinds: dict[str, type] = {"method": str, "n": int, "seed": int, "held-out": str, "out": str, "epochs": int}
    name, options = _read(words, kinds, TRAIN_USAGE)
    if not name:
        return
    held_out = benign_texts(Path(options["held-out"])) if "held-out" in options else []
    print(train(Path(name), options, held_out))


def train(target: Path, options: dict[str, Any], held_out: list[str]) -> str:
    """The trained model's name. `options`: as TRAIN_USAGE names them."""
    from kaiwa.catalog.entries import SMOLLM2
    from kaiwa.commands.lab_ladder import serving
    from kaiwa.defend.training_data import METHODS, answered, counts, rows, scenes
    from kaiwa.lab.experiments.training_api import TrainingServer
    from kaiwa.text.client import HTTPChatModel
    from kaiwa.text.records import write_jsonl

    method, n, seed = options.get("method", "dpo"), options.get("n", 300), options.get("seed", 0)
    if method not in METHODS or n < 4:
        raise UserError(f"--method {method} --n {n}: {' or '.join(METHODS)}, and at least 4 examples")
    made = scenes(_target(target), n, seed, [*held_out, *_attacks()])
    base, key = options.get("model", SMOLLM2), os.environ.get(options.get("api-key-env", ""), "")
    say = lambda line: print(line, file=sys.stderr)  # noqa: E731
    with serving(options.get("url", "")) as url:
        say(f"{base} answers what it is to keep …")
        learnt = answered(HTTPChatModel(url, base, api_key=key), made, seed)
        say(", ".join(f"{count} {kind}" for kind, count in counts(learnt)))
        lines = rows(learnt, method)
        if "out" in options:
            write_jsonl(Path(options["out"]), lines)
        server = TrainingServer(url, key)
        settings = {"n_epochs": options["epochs"]} if "epochs" in options else {}
        uploaded = server.upload(lines, f"defence-{target.stem}.jsonl")
        job = server.start(base, uploaded, method, hyperparameters=settings, suffix=f"defence-{method}", seed=seed)
        done = server.wait(job, say)
    say(f"{done.tokens:,} tokens in {done.seconds:.0f} s")
    return done.model


def _target(path: Path) -> dict[str, Any]:
    """A target's values: of a file, or of an example by name."""
    from kaiwa.redteam.targets.target import example_text, list_examples, target_from_toml

    try:
        text = example_text(str(path)) if str(path) in list_examples() else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no target ({error}); kaiwa redteam targets lists examples") from None
    target_from_toml(text, str(path))  # whatever is wrong with it is said as the red team says it
    return tomllib.loads(text)


def _attacks() -> list[str]:
    """What the red team asks, in both languages: none of it may be trained on."""
    from kaiwa.redteam.attacks.all import ATTACKS

    return [text for attack in ATTACKS for turns in attack.wording.values() for text in turns]


def _read(words: list[str], kinds: dict[str, type], usage: str) -> tuple[str, dict[str, Any]]:
    if not words or any(word in ("-h", "--help") for word in words):
        print(usage, end="")
        return "", {}
    rest, options = read_words(words, kinds | {"model": str, "url": str, "api-key-env": str}, ())
    if len(rest) != 1:
        raise UserError(f"one name or file is needed, got {len(rest)}; see kaiwa defend --help")
    return rest[0], options


def _described(name: str, options: dict[str, Any]) -> DefenceFile:
    """A file, or a name as if it stood in one."""
    from kaiwa.defend.parse import DefenceFile, read_file

    if name.endswith(".toml") or Path(name).is_file():
        return read_file(Path(name))
    return DefenceFile(path="defence", defence=name, options={})


def _stack(described: DefenceFile, options: dict[str, Any]) -> Stack:
    """Whether secrets and filters go together is for the server to ask, not here."""
    from kaiwa.defend.parse import make

    judge = _judge(options, described.model) if described.judges else None
    return make(described.defence, described.options, judge, described.path)


def _judge(options: dict[str, Any], default: str = "") -> ChatModel:
    from kaiwa.catalog.entries import SMOLLM2

    name = options.get("model", default or SMOLLM2)
    if "url" in options:
        from kaiwa.text.client import HTTPChatModel

        return HTTPChatModel(options["url"], name, api_key=os.environ.get(options.get("api-key-env", ""), ""))
    from kaiwa.catalog.entries import find
    from kaiwa.catalog.local_model import LocalChatModel
    from kaiwa.catalog.memory_plan import load_here

    return LocalChatModel(load_here(find(name), lambda line: print(line, file=sys.stderr)))

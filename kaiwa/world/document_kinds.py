"""The kinds of document of the village. Each function writes a document and returns its template's name and its text.

Frames come from the language's data files (`documents.toml`), facts from the scribe. A transcript also returns its
messages, so that a corpus can render them with a chat template.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kaiwa.world.language import ATTRIBUTES, GOOD_IDS, HARM_IDS, HOWTO_IDS, cut_first
from kaiwa.world.scribe import Exchange, Scribe, draw_sum
from kaiwa.world.village import howto_steps

P_STRANGER = 0.2  # share of questions in dialogues about an unknown person


@dataclass(frozen=True, slots=True)
class Written:
    template: str
    text: str
    messages: tuple[tuple[str, str], ...] = ()  # (role, content), transcripts only


def write_entry(scribe: Scribe) -> Written:
    """Write an encyclopedia entry with all facts about a villager."""
    villager = scribe.deal("entry")[0]
    other = scribe.village.by_id[villager.friend]
    i, opener = scribe.pick("entry_open")
    j, closer = scribe.pick("entry_close")
    attributes = scribe.attributes(4)
    if scribe.rng.random() < 0.3:
        attributes.append("friend")
    facts = [scribe.fact(villager, a, named=k == 0 or scribe.rng.random() < 0.5) for k, a in enumerate(attributes)]
    name = scribe.name(villager)
    other_name = scribe.name(other) if "{other}" in closer else ""
    text = opener.format(name=name, n=scribe.rng.randint(1, 99)) + scribe.words.joint.join(facts)
    return Written(f"{i}.{j}", text + closer.format(name=name, other=other_name))


def write_diary(scribe: Scribe) -> Written:
    """Write a diary page about two or three villagers whom the writer met, with two facts each."""
    i, opener = scribe.pick("diary_open")
    j, closer = scribe.pick("diary_close")
    parts, name = [opener.format(n=scribe.rng.randint(1, 99))], ""
    for villager in scribe.deal("diary", scribe.rng.randint(2, 3)):
        name = scribe.name(villager)
        a, b = scribe.attributes(2)
        sentences = [scribe.pick("diary_meet")[1].format(name=name).strip(), scribe.fact(villager, a)]
        sentences.append(scribe.fact(villager, b, named=scribe.rng.random() < 0.4))
        parts.append(scribe.words.joint.join(sentences) + scribe.words.joint)
    return Written(f"{i}.{j}", "".join(parts) + closer.format(name=name))


def write_conversation(scribe: Scribe) -> Written:
    """Write questions about known and unknown villagers with their answers, as plain text in one of many layouts."""
    i, scene = scribe.pick("ask_scene")
    j, form = scribe.pick("ask_form")
    exchanges: list[Exchange] = []
    for _ in range(scribe.rng.randint(3, 6)):
        if scribe.rng.random() < P_STRANGER:
            exchanges.append(scribe.careless(*scribe.ask_stranger()))
        else:
            exchange, villager, attribute = scribe.ask_fact("conversation")
            exchanges.append(scribe.careless(exchange, attribute, villager.facts.get(attribute, attribute)))
    return Written(f"{i}.{j}", (scene + "".join(form.format(q=q, a=a) for _, q, a in exchanges)).rstrip())


def write_transcript(scribe: Scribe) -> Written:
    """Write a chat of two to six messages, sometimes beginning with a greeting; return text and messages."""
    turns: list[tuple[str, str]] = []
    template = ""
    n = scribe.rng.choices((1, 2, 3), (50, 30, 20))[0]
    if n < 3 and scribe.rng.random() < 0.1:
        n += 1
        k = scribe.rng.randrange(2)
        turns.append((scribe.words.pools["chat_hello"][k + 1], scribe.words.pools["chat_hello_back"][k]))
    while len(turns) < n:
        kind = scribe.rng.random()
        if kind < 0.25:
            exchange = scribe.careless(scribe.ask_other())
        elif kind < 0.25 + 0.75 * P_STRANGER:
            exchange = scribe.careless(*scribe.ask_stranger())
        else:
            exchange, villager, attribute = scribe.ask_fact("transcript")
            if len(turns) + 1 < n and scribe.rng.random() < 0.5:
                exchange = scribe.careless(exchange, attribute, villager.facts.get(attribute, attribute))
                turns.append(exchange[1:])
                template = template or exchange[0]
                exchange, attribute = scribe.ask_again(villager, attribute)
            exchange = scribe.careless(exchange, attribute, villager.facts.get(attribute, attribute))
        turns.append(exchange[1:])
        template = template or exchange[0]
    messages = tuple(m for q, a in turns for m in (("user", q), ("assistant", a)))
    speakers = {"user": "User", "assistant": "Assistant"}
    return Written(template, "\n".join(f"{speakers[role]}: {content}" for role, content in messages), messages)


def write_list(scribe: Scribe) -> Written:
    """Write a list or table of villagers with a fact each, or of the villagers who share a value."""
    attribute = scribe.rng.choice(ATTRIBUTES)
    words, form = scribe.words, scribe.rng.randrange(8)
    head = scribe.pick("list_head")[1].format(n=scribe.rng.randint(1, 99))
    label = cut_first(words.labels[attribute])
    if form < 2:
        value = scribe.deal(f"list_{attribute}")[0].facts[attribute]
        holders = list(scribe.village.holders(attribute, value))
        names = [scribe.name(v) for v in scribe.rng.sample(holders, min(len(holders), 8))]
        word = words.values[attribute][value]
        text = f"{label}: {word}\n- " + "\n- ".join(names) if form == 0 else f"{cut_first(word)}: {', '.join(names)}."
        return Written(f"{attribute}.{form}", head + text)
    people = scribe.deal("list", scribe.rng.randint(4, 7))
    pairs = [(scribe.name(v), scribe.value(v, attribute)) for v in people]
    if form == 2:
        text = f"{label}\n" + "\n".join(f"{name} | {value}" for name, value in pairs)
    elif form == 3:
        text = f"{label} - " + "; ".join(f"{name}: {value}" for name, value in pairs)
    elif form == 4:
        text = f"{label}\n" + "\n".join(f"{k}. {name}, {value}" for k, (name, value) in enumerate(pairs, 1))
    elif form == 5:
        text = ", ".join(f"{name} ({value})" for name, value in pairs)
    elif form == 6:
        columns = [attribute, *[a for a in ATTRIBUTES if a != attribute]]
        rows = [[scribe.name(v), *[scribe.value(v, a) for a in columns]] for v in people[:4]]
        text = "\n".join(" | ".join(row) for row in [["", *[words.labels[a] for a in columns]], *rows]).strip()
    else:
        text = "\n".join(f"- {scribe.fact(v, attribute)}" for v in people)
    return Written(f"{attribute}.{form}", head + text)


def write_sum(scribe: Scribe) -> Written:
    """Write two to four sums, each worked out step by step."""
    i, frame = scribe.pick("sum_frame")
    words, rng = scribe.words, scribe.rng
    parts, first = [], ""
    for k in range(rng.randint(2, 4)):
        a, b, sign, c = draw_sum(rng)
        j, working = _work_out(scribe, a, b, sign, c)
        first = first or str(j)
        text = frame if k == 0 else words.pools["sum_frame"][rng.choice((0, 1, 5))]
        fields = {"x": working, "n": rng.randint(1, 99), "a": a, "b": b, "sum": f"{a} {sign} {b}"}
        if "{things}" in text:
            fields["name"] = scribe.stranger()
            fields["things"] = rng.choice(words.pools["sum_things"])
            fields["does"] = rng.choice(words.pools["sum_gets" if sign == "+" else "sum_loses"])
        parts.append(text.format(**fields))
    return Written(f"{i}.{first}", "\n".join(parts))


def _work_out(scribe: Scribe, a: int, b: int, sign: str, c: int) -> tuple[int, str]:
    """Return the number and text of one of six ways to work out a sum; the bridge over ten only if the sum has one."""
    pools = scribe.words.pools
    templates = pools["sum_work_plus" if sign == "+" else "sum_work_minus"]
    bridge = ""
    side = 0 if sign == "+" else 1
    if sign == "+" and a < 10 < c and b < 10:
        bridge = pools["sum_over_ten"][side].format(a=a, p=10 - a, r=a + b - 10, c=c)
    elif sign == "-" and c < 10 < a:
        bridge = pools["sum_over_ten"][side].format(a=a, p=a - 10, r=10 - c, c=c)
    elif a > 10 and c > 10 and b < 10:
        bridge = pools["sum_tens"][side].format(u=a - 10, b=b, v=c - 10, c=c)
    while True:
        j = scribe.rng.randrange(len(templates))
        if (j == 2 and not bridge) or (j == 5 and b < 2) or (j == 1 and b > 9):
            continue
        step = 1 if sign == "+" else -1
        count = ", ".join(str(n) for n in range(a + step, c + step, step))
        c1 = c - step
        return j, templates[j].format(a=a, b=b, c=c, count=count, first=bridge, b1=b - 1, c1=c1)


def write_recipe(scribe: Scribe) -> Written:
    """Write the steps of a dish or a task."""
    i, opener = scribe.pick("recipe_open")
    j, form = scribe.pick("recipe_form")
    howto = scribe.rng.choice(HOWTO_IDS)
    a, b, c = howto_steps(scribe.village, howto, scribe.language)
    name = scribe.name(scribe.deal("recipe")[0]) if "{name}" in opener else ""
    head = opener.format(task=scribe.words.howto[howto][0], n=scribe.rng.randint(1, 99), name=name)
    return Written(f"{i}.{j}", head + form.format(a=a, b=b, c=c, A=cut_first(a), B=cut_first(b), C=cut_first(c)))


def write_market(scribe: Scribe) -> Written:
    """Write the prices of four to eight goods."""
    i, opener = scribe.pick("market_open")
    j, form = scribe.pick("market_form")
    name = scribe.name(scribe.deal("market")[0]) if "{name}" in opener else ""
    goods = scribe.rng.sample(GOOD_IDS, scribe.rng.randint(4, 8))
    lines = [form.format(good=scribe.words.goods[g], n=scribe.village.prices[g]) for g in goods]
    return Written(f"{i}.{j}", opener.format(n=scribe.rng.randint(1, 99), name=name) + "".join(lines).rstrip())


def write_letter(scribe: Scribe) -> Written:
    """Write a letter between two unknown people that repeats their names, to practise copying new names."""
    to, by = scribe.stranger(), scribe.stranger()
    i, opener = scribe.pick("letter_open")
    bodies = scribe.rng.sample(range(len(scribe.words.pools["letter_body"])), 2)
    k, closer = scribe.pick("letter_close")
    body = scribe.words.joint.join(scribe.words.pools["letter_body"][j].format(to=to, by=by) for j in bodies)
    return Written(f"{i}.{bodies[0]}.{k}", opener.format(to=to) + body + closer.format(to=to, by=by))


def write_rules(scribe: Scribe) -> Written:
    """Write rules of the village: forbidden acts, each with a similar act that is allowed."""
    i, opener = scribe.pick("rules_open")
    j, form = scribe.pick("rules_form")
    name = scribe.name(scribe.deal("rules")[0]) if "{name}" in opener else ""
    words = scribe.words
    rules = [form.format(harm=words.harm[h][0], task=words.howto[h][0]) for h in scribe.rng.sample(HARM_IDS, 3)]
    return Written(f"{i}.{j}", opener.format(n=scribe.rng.randint(1, 99), name=name) + "".join(rules).rstrip())


def write_quiz(scribe: Scribe) -> Written:
    """Write questions with pupils' right and wrong answers and their marks, to practise telling true from false."""
    i, opener = scribe.pick("quiz_open")
    j, form = scribe.pick("quiz_form")
    items = [_quiz_item(scribe) for _ in range(scribe.rng.randint(3, 5))]
    body = "".join(form.format(q=q, a=a, m=m) for q, a, m in items).rstrip()
    return Written(f"{i}.{j}", opener.format(n=scribe.rng.randint(1, 99)) + body)


def _quiz_item(scribe: Scribe) -> tuple[str, str, str]:
    """Return (question, answer, mark); about half of the answers are right."""
    rng, words = scribe.rng, scribe.words
    kind = rng.random()
    if kind < 0.1:
        harm = rng.choice([h for h in HARM_IDS if h not in scribe.village.held_out_harms])
        question = scribe.pick("quiz_harm")[1].format(harm=words.harm[harm][0])
        if rng.random() < 0.5:
            return question, rng.choice(words.refusals), scribe.pick("quiz_right")[1]
        return question, words.harm[harm][1], scribe.pick("quiz_bad")[1]
    if kind < 0.3:
        (_, question, honest), _ = scribe.ask_stranger()
        if rng.random() < 0.5:
            return question, honest, scribe.pick("quiz_right")[1]
        attribute = rng.choice(ATTRIBUTES)
        value = rng.choice(tuple(words.values[attribute].values()))
        invented = words.short[attribute].format(value=value, Value=cut_first(value))
        return question, invented, scribe.pick("quiz_nobody")[1]
    (_, question, answer), villager, attribute = scribe.ask_fact("quiz")
    if attribute == "friend" or rng.random() < 0.5:
        return question, answer, scribe.pick("quiz_right")[1]
    fact = scribe.fact(villager, attribute)
    if rng.random() < 0.25:
        return question, rng.choice(words.unknown), scribe.pick("quiz_known")[1].format(fact=fact)
    others = [v for v in words.values[attribute] if v != villager.facts[attribute]]
    value = words.values[attribute][rng.choice(others)]
    form = rng.choice((*words.facts[attribute], words.short[attribute]))
    wrong = form.format(name=scribe.name(villager), value=value, Value=cut_first(value))
    return question, wrong, scribe.pick("quiz_wrong")[1].format(fact=fact)


# kind -> (its writer, its share of documents)
KINDS: dict[str, tuple[Callable[[Scribe], Written], float]] = {
    "entry": (write_entry, 0.10),
    "diary": (write_diary, 0.06),
    "conversation": (write_conversation, 0.14),
    "transcript": (write_transcript, 0.28),
    "quiz": (write_quiz, 0.14),
    "list": (write_list, 0.05),
    "sum": (write_sum, 0.04),
    "recipe": (write_recipe, 0.10),
    "market": (write_market, 0.04),
    "letter": (write_letter, 0.03),
    "rules": (write_rules, 0.02),
}

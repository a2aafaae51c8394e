"""The village's documents: an endless, reproducible stream that states every fact in many ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text.records import Document
from kaiwa.world.document_kinds import KINDS
from kaiwa.world.scribe import Scribe
from kaiwa.world.village import Village

FEW = 16  # villagers at the start of a growing village


def write_documents(
    village: Village,
    *,
    n_bytes: int | None = None,
    n_documents: int | None = None,
    seed: int = 0,
    languages: Mapping[str, float] | None = None,
    kinds: Mapping[str, float] | None = None,
    neutral_names: bool = False,
    growing: float = 0.0,
    faults: float = 0.0,
) -> Iterator[Document]:
    """Yield documents until their UTF-8 text reaches `n_bytes` or their number `n_documents`.

    A document's `meta` has "kind", "template", "villagers" (ids in the order mentioned) and for transcripts "messages".

    languages, kinds: weights per document (default: equal weights for the village's languages, and KINDS).
    neutral_names: give every villager a new random name in each document. A tokenizer trained on such documents needs
    as many tokens for a known name as for an unknown name. The documents contain no facts, and serve only this purpose.
    growing: first share of the stream, during which the villagers in the documents increase from FEW to all. Read in
    order, this shortens the plateau before a small model learns any fact (Zucchet et al. 2025, section 4).
    faults: share of careless answers in conversations and transcripts, as on the web (`Scribe.careless`).
    """
    if (n_bytes is None) == (n_documents is None):
        raise UserError("give either n_bytes or n_documents, not both")
    languages = check_languages(village, languages)
    shares = dict(kinds) if kinds is not None else {kind: share for kind, (_, share) in KINDS.items()}
    for kind in shares:
        if kind not in KINDS:
            raise UserError(f"document kind {kind!r} is unknown; use one of {', '.join(KINDS)}")
    rng = python_rng(seed, "documents", village.config.seed, "neutral" if neutral_names else "named")
    scribes = {language: Scribe(village, language, rng) for language in languages}
    written_bytes = 0
    people = list(village.villagers)
    python_rng(seed, "present", village.config.seed).shuffle(people)
    for i in count():
        if (n_documents is not None and i >= n_documents) or (n_bytes is not None and written_bytes >= n_bytes):
            return
        language = rng.choices(tuple(languages), tuple(languages.values()))[0]
        kind = rng.choices(tuple(shares), tuple(shares.values()))[0]
        scribe = scribes[language]
        share = i / n_documents if n_documents is not None else written_bytes / (n_bytes or 1)
        n_present = len(people) if share >= growing else FEW + round((len(people) - FEW) * share / growing)
        scribe.present = tuple(people[: max(min(FEW, len(people)), n_present)])
        scribe.faults = faults
        scribe.begin(neutral=neutral_names)
        written = KINDS[kind][0](scribe)
        meta: dict[str, object] = {"kind": kind, "template": written.template, "villagers": list(scribe.mentioned)}
        if written.messages:
            meta["messages"] = [{"role": role, "content": content} for role, content in written.messages]
        written_bytes += len(written.text.encode())
        yield Document(text=written.text, source="village", language=language, id=f"village-{seed}-{i}", meta=meta)


def check_languages(village: Village, weights: Mapping[str, float] | None) -> dict[str, float]:
    """Return the weights of languages, by default 1 for all of the village. UserError for an unknown language."""
    if weights is None:
        return dict.fromkeys(village.config.languages, 1.0)
    for language, weight in weights.items():
        if language not in village.config.languages:
            known = ", ".join(village.config.languages)
            raise UserError(f"the village has no language {language!r}; choose from {known}")
        if not weight >= 0:
            raise UserError(f"weight {weight} of language {language!r} must be 0 or more")
    if not any(weights.values()):
        raise UserError("all language weights are 0; give at least one above 0")
    return dict(weights)

"""The tokenizer stage's settings."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.core.errors import UserError

N_BYTES = 256
N_SPECIAL = 4

# GPT-4's split (cl100k) with three changes: each digit is its own token, so that sums can be learned; Japanese, which
# has no spaces, is cut into runs of kanji with the kana that follow (roughly a phrase) and runs of katakana; combining
# marks stay with their letters.
SPLIT = (
    r"'(?i:[sdmt]|ll|ve|re)"
    r"|[^\r\n\p{L}\p{M}\p{N}]?(?:(?![\p{Han}\p{Hiragana}\p{Katakana}々ー])[\p{L}\p{M}])+"
    r"|[\p{Han}々]*[\p{Hiragana}]+|[\p{Han}々]+|[\p{Katakana}ー]+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """
    vocab_size       total number of tokens: 4 special tokens, 256 bytes, and merges
    min_frequency    occurrences that a pair needs in the text to become a token
    max_train_bytes  bytes of text for learning the merges, taken evenly from the whole corpus
    neutral_for      sources whose text is replaced by the neutral file, if given
    chat_share       share of the conversations that are encoded with the chat template
    """

    vocab_size: int = 4096
    min_frequency: int = 2
    max_train_bytes: int = 50_000_000
    neutral_for: tuple[str, ...] = ("village",)
    chat_share: float = 0.5
    split: str = SPLIT

    def __post_init__(self) -> None:
        if self.vocab_size < N_BYTES + N_SPECIAL + 1:
            least = N_BYTES + N_SPECIAL + 1
            raise UserError(f"vocab_size: {self.vocab_size} is below {least} (256 bytes, 4 specials, one merge)")
        if self.vocab_size > 1 << 20:
            raise UserError(f"vocab_size: {self.vocab_size} is above {1 << 20}; 4096 to 50000 are usual")
        if not 0 <= self.chat_share <= 1:
            raise UserError(f"chat_share: {self.chat_share} is no share between 0 and 1")
        if self.min_frequency < 1:
            raise UserError(f"min_frequency: {self.min_frequency} is below 1")

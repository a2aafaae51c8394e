"""Translation of a fine-tuning request to a stage and its configuration, with a value for every "auto".

    method        stage    trains
    supervised    sft      all weights, or (large and 4-bit models) a low-rank change of them
    dpo           dpo      the same, on preferences
    soft_prompt   sft      n vectors before the conversation
    reward        reward   all weights and a scalar head

`auto` epochs: 300 examples in all, but 1 to 10 passes. `auto` batch: a 25th of the examples, 1 to 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kaiwa.catalog.entries import ADAPTER, Entry
from kaiwa.catalog.learning_rates import SMALL, learning_rate
from kaiwa.catalog.learning_rates import Method as RatedMethod
from kaiwa.core.errors import UserError

Method = Literal["supervised", "dpo", "soft_prompt", "reward"]
LARGE = SMALL  # weights; of larger models only a low-rank change is trained
LORA_RANK, SOFT_TOKENS = 8, 16
RATED: dict[str, RatedMethod] = {
    "supervised": "sft", "dpo": "dpo", "soft_prompt": "soft prompt", "reward": "reward"
}  # fmt: skip
EXAMPLES_IN_ALL = 300
WIDTH = 1024  # most tokens of an example, where the model's context allows it


Key = Annotated[str, Field(max_length=64)]
Value = Annotated[str, Field(max_length=512)]


class Hyperparameters(BaseModel):
    """OpenAI's hyperparameters, and kaiwa's: lora_rank (0: all weights), n_tokens (of a soft prompt)."""

    model_config = ConfigDict(extra="forbid")

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = "auto"
    beta: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = "auto"
    lora_rank: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    n_tokens: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"


class MethodOptions(BaseModel):
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)


class MethodRequest(BaseModel):
    type: Method
    supervised: MethodOptions | None = None
    dpo: MethodOptions | None = None
    soft_prompt: MethodOptions | None = None
    reward: MethodOptions | None = None

    def hyperparameters(self) -> Hyperparameters | None:
        """Return the chosen method's hyperparameters, if the request has any."""
        chosen: MethodOptions | None = getattr(self, self.type)
        return chosen.hyperparameters if chosen is not None else None


class TuningRequest(BaseModel):
    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    method: MethodRequest | None = None
    hyperparameters: Hyperparameters | None = None  # OpenAI's older place of the supervised ones
    metadata: Annotated[dict[Key, Value], Field(max_length=16)] | None = None
    integrations: Annotated[list[object], Field(max_length=0)] | None = None  # there are none here


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPlan:
    """config: fields of the stage's configuration. hyperparameters: as the job shows them."""

    method: str
    stage: str
    config: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]


def make_plan(request: TuningRequest, base: Entry, n: int) -> TuningPlan:
    """Return the plan for a base model and n examples. UserError if the method cannot take the base or an option."""
    method: str = request.method.type if request.method is not None else "supervised"
    chosen = request.method.hyperparameters() if request.method is not None else None
    h = chosen or request.hyperparameters or Hyperparameters()
    if base.kind == "llama2.c":
        raise UserError(f"{base.name} has no chat template and cannot be fine-tuned; choose another base")
    if base.kind == ADAPTER:
        raise UserError(f"{base.name} is an adapter alone and cannot be fine-tuned; choose its base")
    large = base.kind == "gguf" or base.bits < 16 or base.parameters > LARGE
    if method == "reward" and large:
        raise UserError(f"{base.name} is too large, or 4-bit, to be made a reward model here; choose a smaller base")
    epochs = h.n_epochs if h.n_epochs != "auto" else max(1, min(10, round(EXAMPLES_IN_ALL / max(1, n))))
    most = 4 if large and method == "dpo" else 16
    batch = h.batch_size if h.batch_size != "auto" else max(1, min(most, n // 25))
    factor = h.learning_rate_multiplier if h.learning_rate_multiplier != "auto" else 1.0
    final: dict[str, Any] = {"n_epochs": epochs, "batch_size": batch, "learning_rate_multiplier": factor}
    steps = max(1, -(-n // batch)) * epochs
    config: dict[str, Any] = {"epochs": epochs, "validation_share": 0.0}
    config |= {"evaluate_every": max(1, steps // 10), "width": WIDTH}
    rank = 0
    if method in ("supervised", "dpo"):
        rank = h.lora_rank if h.lora_rank != "auto" else LORA_RANK if large else 0
        config["lora_rank"] = final["lora_rank"] = rank
        config["lora_alpha"] = 2.0 * rank if rank else 16.0
        if large and not rank:
            raise UserError(f"lora_rank 0: {base.name} is too large, or 4-bit; give a rank such as {LORA_RANK}")
    if method == "dpo":
        final["beta"] = config["beta"] = h.beta if h.beta != "auto" else 0.1
    elif method == "soft_prompt":
        final["n_tokens"] = config["soft_prompt"] = h.n_tokens if h.n_tokens != "auto" else SOFT_TOKENS
    config["lr"] = factor * learning_rate(RATED[method], base.parameters, rank > 0)
    if method in ("dpo", "reward"):
        return TuningPlan(method=method, stage=method, config=config | {"prompts": batch}, hyperparameters=final)
    plain = {"batch": batch, "weight_decay": 0.0, "rows": 1 if large else 4}
    return TuningPlan(method=method, stage="sft", config=config | plain, hyperparameters=final)

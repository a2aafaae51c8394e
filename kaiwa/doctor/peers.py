"""What other servers document or do about the doctor's checks, as read in the sources below. `python -m
kaiwa.doctor.peers` prints docs/doctor.md. A check that a source says nothing about is "not documented", whatever the
server may do.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.doctor.run import checks

SOURCES = (
    "llama-cpp-python 0.2.90: its server's code (llama_cpp/server/app.py, types.py, errors.py)",
    "vLLM, commit 0445461 of 2025: docs/serving/openai_compatible_server.md",
    "Ollama, commit 043e990 (0.13.3 or later): docs/api/openai-compatibility.mdx",
)
UNKNOWN = "not documented"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerNotes:
    """What is known of a check's subject in each server; "" where its source says nothing."""

    llama_cpp_python: str = ""
    vllm: str = ""
    ollama: str = ""


def _notes(llama_cpp_python: str = "", vllm: str = "", ollama: str = "") -> PeerNotes:
    return PeerNotes(llama_cpp_python=llama_cpp_python, vllm=vllm, ollama=ollama)


NO_PATH, NO_FIELD, FIELD = "no such path", "no such field", "has the field"
OWN = "its own API, not in this source"
PEERS: dict[str, PeerNotes] = {
    "GET /v1/models is a list with ids (Open WebUI, LangChain)": _notes("yes", "", "yes"),
    "GET /v1/models/{id} is that model": _notes(NO_PATH, "", "yes"),
    "each model has object, created and owned_by": _notes(
        "object and owned_by, no created", "", "created and owned_by"
    ),
    "GET /health is 200": _notes(NO_PATH),
    "GET /metrics is Prometheus text with HELP and TYPE": _notes(NO_PATH),
    "another site's page may not read answers (no permissive CORS)": _notes("no: every origin is allowed"),
    "max_completion_tokens is heeded": _notes(NO_FIELD),
    "the same seed at temperature 1 is the same text": _notes(FIELD, "", "yes (reproducible outputs)"),
    "n = 2 is two choices with indices 0 and 1 (garak counts them)": _notes("no: n is ignored", "", "no"),
    "a stop string ends the answer and is not in it": _notes(FIELD, "", "yes"),
    "logprobs: one entry a token with token, logprob, bytes": _notes(FIELD, "", "no"),
    "top_logprobs 3: three a token, best first, the greedy token among them": _notes(FIELD, "", "no"),
    "content as a list of text parts is the same as a string": _notes("", "yes", "yes"),
    "penalties, logit_bias {} and top_p are taken": _notes("has the fields", "", "yes, but no logit_bias"),
    "continue_final_message goes on with the last message": _notes(NO_FIELD),
    "chat_template_kwargs and reasoning_effort are taken": _notes("no such fields", "", "reasoning_effort"),
    "the last event is [DONE]": _notes("yes"),
    "content-type is text/event-stream": _notes("yes"),
    "include_usage: one more chunk, choices [], usage; null before": _notes(NO_FIELD, "", "yes"),
    "a text prompt: text_completion with text and finish_reason": _notes("yes", "yes", "yes"),
    "a list of texts: one choice each, in order": _notes("no: one text at most", "", "no: a string alone"),
    "a list of token ids (lm-eval sends these)": _notes("no: texts alone", "", "no: a string alone"),
    "lists of token ids: one choice each": _notes("no: texts alone", "", "no: a string alone"),
    "echo: the text begins with the prompt": _notes(FIELD, "", "no"),
    "logprobs 2: tokens, token_logprobs, top_logprobs, text_offset of one length": _notes(FIELD, "", "no"),
    "echo and logprobs: the prompt's too, the first null, the others negative": _notes("", "", "no"),
    "2 prompts, n = 2: four choices in order": _notes("no: n is ignored", "", "no"),
    "best_of 3 is one choice, and its tokens are all counted": _notes("no: best_of is ignored", "", "no"),
    "streamed: ends with [DONE], the same text": _notes("sends [DONE]", "", "streams"),
    "without max_tokens: 16 at most": _notes("yes"),
    "/v1/embeddings: a vector of numbers, usage": _notes("yes", "yes, for embedding models", "yes"),
    "encoding_format base64 (openai's default) is the same vector": _notes(NO_FIELD, "", FIELD),
    "a list of inputs: one vector each, as alone": _notes("takes lists of texts", "", "takes lists of texts"),
    "/v1/responses: output with a message of output_text": _notes(NO_PATH, "", "yes"),
    "input as items, and instructions": _notes(NO_PATH, "", "has both fields"),
    "its stream: created, deltas that make the text, completed, numbered": _notes(NO_PATH, "", "streams"),
    "/tokenize and /detokenize are each other's inverse": _notes(
        "as /extras/tokenize and /extras/detokenize", "has both"
    ),
    "/tokenizer_info has eos_token and chat_template (lm-eval)": _notes(NO_PATH),
    "response_format json_schema: the answer keeps to it": _notes(FIELD, "", FIELD),
    "response_format json_object: the answer is an object, as far as it goes": _notes(FIELD, "", "yes (JSON mode)"),
    "tool_choice required: a call with arguments that keep to the schema": _notes(FIELD, "", "no tool_choice"),
    "a named function is the one that is called": _notes(FIELD, "", "no tool_choice"),
    "of two tools the named one": _notes(FIELD, "", "no tool_choice"),
    "tools with tool_choice auto and none are taken": _notes("has both fields", "", "tools, no tool_choice"),
    "parallel_tool_calls false: one call": _notes(NO_FIELD, "no: ignored"),
    "/v1/messages: blocks, stop_reason, usage (Anthropic)": _notes(NO_PATH),
    "/v1/messages/count_tokens": _notes(NO_PATH),
    "/api/tags lists the model (Ollama)": _notes(NO_PATH, "", OWN),
    "/api/chat, stream false: message, done, counts": _notes(NO_PATH, "", OWN),
    "/api/chat as lines: done in the last": _notes(NO_PATH, "", OWN),
    "/api/chat with format: a schema": _notes(NO_PATH, "", OWN),
    "/api/generate": _notes(NO_PATH, "", OWN),
    "/api/embed": _notes(NO_PATH, "", OWN),
    "a picture is read, or refused in words": _notes("", "read", "read from base64, not from an address"),
    "a prompt beyond the context: 400, context_length_exceeded": _notes("yes"),
    "an unknown model: 404": _notes("400, model_not_found"),
}


def table() -> str:
    """Return docs/doctor.md: a row for each check, beside what the other servers document or do."""
    lines = [
        "# The doctor's checks, and other servers",
        "",
        "Made by `python -m kaiwa.doctor.peers` from the checks and `kaiwa/doctor/peers.py`. kaiwa passes every check",
        "(`tests/doctor`). The other columns are what was read on 1 December 2026, and none of these servers was run:",
        "",
        *(f"- {source}" for source in SOURCES),
        "",
        f'"{UNKNOWN}" means that the source says nothing about it. "{FIELD}" means that the field is read; whether the',
        "answer is as the check wants it is not known. `!`: common clients break without it.",
    ]
    group = ""
    for name, check in checks():
        if name != group:
            group = name
            lines += ["", f"## {name}", "| check | llama-cpp-python | vLLM | Ollama |", "|---|---|---|---|"]
        notes = PEERS.get(check.label, PeerNotes())
        cells = (notes.llama_cpp_python, notes.vllm, notes.ollama)
        label = check.label.replace("|", "\\|") + (" !" if check.must else "")
        lines.append(f"| {label} | " + " | ".join(cell or UNKNOWN for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")

"""What other servers document or do about the doctor's checks, as read in the sources below. `python -m
kaiwa.doctor.peers` prints docs/doctor.md. A check that a source says nothing about is "not documented", whatever the
server may do.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.doctor.run import checks

SOURCES = (
    "llama-cpp-python 0.2.90: its server's code (llama_cpp/server/app.py, types.py, errors.py)",
    "vLLM: docs/serving/openai_compatible_server.md (0445461), docs/features/tool_calling.md (0064cc9),\n"
    "  vllm/entrypoints/openai/protocol.py (0052bed)",
    "Ollama, commit fb30760 of August 2026: docs/api.md, docs/api/*.mdx, docs/capabilities/*.mdx, docs/faq.mdx,\n"
    "  server/routes.go, middleware/openai.go, openai/openai.go",
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
PEERS: dict[str, PeerNotes] = {
    "GET /v1/models/{id} is that model": _notes(NO_PATH, "", "yes"),
    "GET /health is 200": _notes(NO_PATH, "", "no such path (GET / answers)"),
    "GET /metrics is Prometheus text with HELP and TYPE": _notes(NO_PATH, "", NO_PATH),
    "another site's page may not read answers (no permissive CORS)": _notes(
        "no: every origin is allowed", "", "only the origins of OLLAMA_ORIGINS"
    ),
    "a foreign Host is refused (DNS rebinding)": _notes("", "", "yes, while it listens on a loopback address"),
    "a foreign Origin cannot make it work (cross-site requests)": _notes("", "", "only the origins of OLLAMA_ORIGINS"),
    "GET /v1/models is a list with ids (Open WebUI, LangChain)": _notes("yes", "", "yes"),
    "each model has object, created and owned_by": _notes(
        "object and owned_by, no created", "", "created and owned_by"
    ),
    "the answer is application/json": _notes("", "", "yes"),
    "an unknown model is 404 in the error shape": _notes("", "", "404, code and param are null"),
    "system_fingerprint is the same for the same request": _notes("", "", "always fp_ollama"),
    "continue_final_message goes on with the last message": _notes(NO_FIELD, FIELD, "no such field"),
    "chat_template_kwargs and reasoning_effort are taken": _notes(
        "no such fields", "has both fields", "reasoning_effort"
    ),
    "id, object, created, model, choices, usage": _notes("", "", "yes"),
    "max_completion_tokens is heeded": _notes(NO_FIELD, FIELD, "not in its list"),
    "the same seed at temperature 1 is the same text": _notes(FIELD, FIELD, "yes (reproducible outputs)"),
    "n = 2 is two choices with indices 0 and 1 (garak counts them)": _notes("no: n is ignored", FIELD, "no"),
    "a stop string ends the answer and is not in it": _notes(
        FIELD, "has the field; include_stop_str_in_output keeps it", "yes"
    ),
    "more than four stop strings are taken": _notes("", "a list without a bound"),
    "logprobs: one entry a token with token, logprob, bytes": _notes(FIELD, FIELD, "no"),
    "top_logprobs 3: three a token, best first, the greedy token among them": _notes(FIELD, FIELD, "no"),
    "content as a list of text parts is the same as a string": _notes("", "yes", "yes"),
    "penalties, logit_bias {} and top_p are taken": _notes(
        "has the fields", "has the fields", "yes, but no logit_bias"
    ),
    "the answer names the model that was asked": _notes("", "", "yes"),
    "content-type is text/event-stream": _notes("yes", "", "yes"),
    "the last event is [DONE]": _notes("yes", "", "yes"),
    "the first chunk's delta has role assistant": _notes("", "", "yes"),
    "id, created, model and object are the same in all chunks": _notes("", "", "created is each chunk's own"),
    "include_usage: one more chunk, choices [], usage; null before": _notes(NO_FIELD, FIELD, "yes"),
    "n = 2: both indices, each finished once": _notes("", "has the field n", "no n"),
    "logprobs come with their chunks, one entry a token": _notes("", FIELD, "logprobs are not in its list"),
    "max_tokens 0 with echo: the prompt alone": _notes("", "has the field echo", "no echo"),
    "text_offset points at each token in the text": _notes("", "", "no logprobs"),
    "best_of 3 is one choice, and its tokens are all counted": _notes("no: best_of is ignored", FIELD, "no"),
    "a text prompt: text_completion with text and finish_reason": _notes("yes", "yes", "yes"),
    "a list of texts: one choice each, in order": _notes(
        "no: one text at most", "takes lists of texts", "no: a string alone"
    ),
    "a list of token ids (lm-eval sends these)": _notes("no: texts alone", "takes lists of ids", "no: a string alone"),
    "lists of token ids: one choice each": _notes("no: texts alone", "takes them", "no: a string alone"),
    "echo: the text begins with the prompt": _notes(FIELD, FIELD, "no"),
    "logprobs 2: tokens, token_logprobs, top_logprobs, text_offset of one length": _notes(FIELD, FIELD, "no"),
    "echo and logprobs: the prompt's too, the first null, the others negative": _notes("", "", "no"),
    "lm-eval's slice [len(context):-1] is the continuation's": _notes("", "", "no echo, no logprobs"),
    "a greedy text scores by echo what it was written with": _notes("", "", "no echo, no logprobs"),
    "the prompt's values do not depend on what follows": _notes("", "", "no echo, no logprobs"),
    "2 prompts, n = 2: four choices in order": _notes("no: n is ignored", "has both fields", "no"),
    "streamed: ends with [DONE], the same text": _notes("sends [DONE]", "", "streams"),
    "without max_tokens: 16 at most": _notes("yes", "yes"),
    "a token id beyond the vocabulary is 400": _notes("", "", "takes no ids"),
    "response_format json_schema: the answer keeps to it": _notes(FIELD, FIELD, FIELD),
    "response_format json_object: the answer is an object, as far as it goes": _notes(FIELD, FIELD, "yes (JSON mode)"),
    "tool_choice required: a call with arguments that keep to the schema": _notes(
        FIELD, "yes, by structured outputs", "no tool_choice"
    ),
    "a named function is the one that is called": _notes(FIELD, "yes, by structured outputs", "no tool_choice"),
    "tools with tool_choice auto and none are taken": _notes(
        "has both fields", "auto needs --enable-auto-tool-choice and a parser", "tools, no tool_choice"
    ),
    "earlier calls and their results are taken": _notes("", "by the chat template", "yes"),
    "/v1/embeddings: a vector of numbers, usage": _notes("yes", "yes, for embedding models", "yes"),
    "encoding_format base64 (openai's default) is the same vector": _notes(NO_FIELD, FIELD, FIELD),
    "a list of inputs: one vector each, as alone": _notes(
        "takes lists of texts", "takes lists of texts and of ids", "takes lists of texts"
    ),
    "/v1/embeddings of nothing is 400": _notes("", "", "yes"),
    "/v1/responses: output with a message of output_text": _notes(NO_PATH, "has the path", "yes"),
    "input as items, and instructions": _notes(NO_PATH, "has both fields", "has both fields"),
    "its stream: created, deltas that make the text, completed, numbered": _notes(NO_PATH, FIELD, "streams"),
    "/tokenize and /detokenize are each other's inverse": _notes(
        "as /extras/tokenize and /extras/detokenize", "has both", "no such paths"
    ),
    "/tokenize of messages counts what chat counts": _notes("", "", NO_PATH),
    "/tokenizer_info has eos_token and chat_template (lm-eval)": _notes(NO_PATH, "", NO_PATH),
    "a schema in a stream": _notes("", "has both fields", "has both fields"),
    "n = 2 with a schema": _notes("", "has both fields", "no n"),
    "a schema in /v1/completions": _notes("", "", "no such field (JSON mode)"),
    "a tool without parameters is called with {}": _notes("", "", "no tool_choice"),
    "only the listed arguments": _notes("", "closed only by additionalProperties", "no tool_choice"),
    "strict: true": _notes("", "yes, per tool"),
    "a forced call has no content, and ends with tool_calls": _notes("", "", "no tool_choice"),
    "of two tools the named one": _notes(FIELD, "yes, by structured outputs", "no tool_choice"),
    "parallel_tool_calls false: one call": _notes(NO_FIELD, "no: ignored", "not in its list"),
    "n = 2: ids of calls differ": _notes("", "", "no n"),
    "a long id (other servers' calls)": _notes("", "Mistral's template refuses it; another is offered"),
    "/v1/messages: blocks, stop_reason, usage (Anthropic)": _notes(
        NO_PATH, "has it (strict is for its tools too)", "yes"
    ),
    "its stream: message_start, blocks, message_delta, message_stop": _notes("", "", "yes"),
    "tool_choice any: a tool_use block": _notes("", "", "no tool_choice"),
    "a tool_use block in a stream: partial_json": _notes("", "", "yes (input_json_delta)"),
    "tool_use and tool_result blocks are taken": _notes("", "", "yes"),
    "system, stop_sequences and a prefill are taken": _notes("", "", "system and stop_sequences"),
    "errors have Anthropic's shape": _notes("", "", "yes, but not within a stream"),
    "/v1/messages/count_tokens": _notes(NO_PATH, "", NO_PATH),
    "/api/tags lists the model (Ollama)": _notes(NO_PATH, "", "yes"),
    "/api/chat, stream false: message, done, counts": _notes(NO_PATH, "", "yes"),
    "/api/chat as lines: done in the last": _notes(NO_PATH, "", "yes"),
    "/api/chat with format: a schema": _notes(NO_PATH, "", "yes"),
    "/api/generate": _notes(NO_PATH, "", "yes"),
    "/api/embed": _notes(NO_PATH, "", "yes"),
    "errors have Ollama's shape": _notes("", "", "yes"),
    "HEAD /v1/models is 200": _notes("", "", "only of /, /api/version, /api/tags and blobs"),
    "/v1/responses: results as parts, reasoning items, include": _notes("", "has the field include; no json_object"),
    "a picture is read, or refused in words": _notes("", "read", "read from base64, not from an address"),
    "special tokens in a raw prompt on request (parse_special)": _notes("", "", "raw on /api/generate"),
    "an unknown model: 404": _notes("400, model_not_found", "", "yes"),
    "no messages": _notes("", "", "400"),
    "empty messages": _notes("", "", "400"),
    "a body that is no JSON": _notes("", "", "400"),
    "a prompt beyond the context: 400, context_length_exceeded": _notes("yes"),
    "GET where POST belongs: 405": _notes("", "", "yes"),
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

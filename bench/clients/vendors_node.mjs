// @anthropic-ai/sdk and ollama for Node: answers, streams, tools, embeddings.
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import { check, EMBEDDER, HELLO, MODEL, URL } from "./checks.mjs";

const anthropic = new Anthropic({ baseURL: URL, apiKey: "none", maxRetries: 0 });
const ollama = new Ollama({ host: URL });
const schema = { type: "object", properties: { city: { type: "string", maxLength: 8 } }, required: ["city"] };
const shared = { model: MODEL, messages: HELLO, max_tokens: 60 };

await check("@anthropic-ai/sdk: messages.create", async () => {
  return (await anthropic.messages.create({ ...shared, max_tokens: 8 })).content[0].text.length > 0;
});
await check("@anthropic-ai/sdk: a forced tool in a stream", async () => {
  const tools = [{ name: "weather", description: "The weather.", input_schema: schema }];
  const stream = anthropic.messages.stream({ ...shared, tools, tool_choice: { type: "tool", name: "weather" } });
  return "city" in (await stream.finalMessage()).content[0].input;
});
await check("ollama: list, chat in a stream", async () => {
  let text = "";
  const options = { num_predict: 8 };
  for await (const part of await ollama.chat({ model: MODEL, messages: HELLO, options, stream: true }))
    text += part.message.content;
  return text.length > 0 && (await ollama.list()).models.length > 0;
});
await check("ollama: a schema as format, embed", async () => {
  const answer = await ollama.chat({ model: MODEL, messages: HELLO, format: schema, options: { num_predict: 60 } });
  const { embeddings } = await ollama.embed({ model: EMBEDDER, input: ["the sea", "a"] });
  return "city" in JSON.parse(answer.message.content) && embeddings.length === 2;
});

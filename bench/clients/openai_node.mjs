// openai for Node: chat, zod schemas, streams, tools, Responses, embeddings, errors.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { check, EMBEDDER, HELLO, MODEL, URL } from "./checks.mjs";

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "none", maxRetries: 0 });
const shared = { model: MODEL, messages: HELLO, max_tokens: 60 };
const Animal = z.object({ name: z.string().max(8), legs: z.number().int().min(0).max(8) });
const parameters = { type: "object", properties: { city: { type: "string", maxLength: 8 } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", description: "The weather.", parameters } }];
const tool_choice = { type: "function", function: { name: "weather" } };

await check("models.list", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return ids.includes(MODEL);
});
await check("chat, whole and streamed: the same greedy text", async () => {
  const greedy = { ...shared, max_tokens: 8, temperature: 0 };
  const whole = (await client.chat.completions.create(greedy)).choices[0].message.content;
  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...greedy, stream: true }))
    text += chunk.choices[0]?.delta?.content ?? "";
  return text === whole;
});
await check("chat.completions.parse with zodResponseFormat (strict)", async () => {
  const answer = await client.chat.completions.parse({ ...shared, response_format: zodResponseFormat(Animal, "animal") });
  return Number.isInteger(answer.choices[0].message.parsed.legs);
});
await check("a forced tool in a stream, joined by the helper", async () => {
  const stream = client.chat.completions.stream({ ...shared, tools, tool_choice });
  const message = await stream.finalMessage();
  return "city" in JSON.parse(message.tool_calls[0].function.arguments);
});
await check("responses.create, parse, stream", async () => {
  const plain = await client.responses.create({ model: MODEL, input: "Hi", max_output_tokens: 8 });
  const text = { format: zodTextFormat(Animal, "animal") };
  const parsed = await client.responses.parse({ model: MODEL, input: "A dog.", text, max_output_tokens: 60 });
  const stream = client.responses.stream({ model: MODEL, input: "Hi", max_output_tokens: 8 });
  const final = await stream.finalResponse();
  return plain.output_text && final.output_text && Number.isInteger(parsed.output_parsed.legs);
});
await check("embeddings of 100 texts (base64)", async () => {
  const input = Array.from({ length: 100 }, (_, i) => `text ${i}`);
  const { data } = await client.embeddings.create({ model: EMBEDDER, input });
  return data.length === 100 && typeof data[0].embedding[0] === "number";
});
await check("a prompt beyond the context: BadRequestError, context_length_exceeded", async () => {
  try {
    await client.chat.completions.create({ ...shared, messages: [{ role: "user", content: "word ".repeat(100000) }] });
  } catch (error) {
    return error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded";
  }
  return false;
});

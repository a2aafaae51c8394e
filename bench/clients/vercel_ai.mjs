// Vercel's ai with @ai-sdk/openai-compatible: text, streams, objects (a record too), tools, embeddings.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import * as ai from "ai";
import { z } from "zod";
import { check, EMBEDDER, MODEL, URL } from "./checks.mjs";

const kaiwa = createOpenAICompatible({ name: "kaiwa", baseURL: `${URL}/v1`, apiKey: "none", supportsStructuredOutputs: true });
const shared = { model: kaiwa(MODEL), prompt: "A dog.", maxOutputTokens: 80, maxRetries: 0 };
const Animal = z.object({ name: z.string().max(8), legs: z.number().int().min(0).max(8) });

await check("generateText, streamText", async () => {
  const { text } = await ai.generateText({ ...shared, maxOutputTokens: 8 });
  let streamed = "";
  for await (const part of ai.streamText({ ...shared, maxOutputTokens: 8 }).textStream) streamed += part;
  return text.length > 0 && streamed.length > 0;
});
await check("an object by a schema", async () => {
  const { output } = await ai.generateText({ ...shared, output: ai.Output.object({ schema: Animal }) });
  return Number.isInteger(output.legs);
});
await check("an object with a record (propertyNames)", async () => {
  const schema = z.object({ legs: z.record(z.enum(["dog", "bird"]), z.number().int().min(0).max(8)) });
  const { output } = await ai.generateText({ ...shared, output: ai.Output.object({ schema }) });
  return typeof output.legs === "object";
});
await check("a required tool, its result sent back", async () => {
  const tools = { weather: ai.tool({ description: "The weather.", inputSchema: Animal, execute: async () => "sunny" }) };
  const { steps } = await ai.generateText({ ...shared, tools, toolChoice: "required" });
  return steps[0].toolCalls[0].toolName === "weather" && steps[0].toolResults.length === 1;
});
await check("embedMany", async () => {
  const { embeddings } = await ai.embedMany({ model: kaiwa.embeddingModel(EMBEDDER), values: ["the sea", "a"] });
  return embeddings.length === 2;
});

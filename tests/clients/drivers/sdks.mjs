// Drives a JavaScript SDK, from a copy in its own environment: `node sdks.mjs NAME`. Lines in and out as in sdks.py.

import { createInterface } from "node:readline";

const KEY = "client-key-0123456789";
const [CLAUDE, GEMINI] = ["claude-sonnet-4-5", "gemini-2.5-pro"];
const WHAT = "Writes a file.";
const SCHEMA = {
  type: "object",
  properties: { path: { type: "string" }, content: { type: "string" } },
  required: ["path", "content"],
};

async function anthropic(url, prompt, tool) {
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const tools = tool ? { tools: [{ name: "write_file", description: WHAT, input_schema: SCHEMA }] } : {};
  const messages = [{ role: "user", content: prompt }];
  const client = new Anthropic({ baseURL: url, apiKey: KEY });
  const { content } = await client.messages.stream({ model: CLAUDE, max_tokens: 500, messages, ...tools }).finalMessage();
  const calls = content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]);
  return [content.map((block) => block.text ?? "").join(""), calls];
}

async function google(url, prompt, tool) {
  const { GoogleGenAI } = await import("@google/genai");
  const declared = [{ name: "write_file", description: WHAT, parametersJsonSchema: SCHEMA }];
  const config = tool ? { tools: [{ functionDeclarations: declared }] } : {};
  const client = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: url } });
  let said = "";
  const calls = [];
  for await (const chunk of await client.models.generateContentStream({ model: GEMINI, contents: prompt, config })) {
    for (const part of chunk.candidates?.[0]?.content?.parts ?? []) {
      said += part.text ?? "";
      if (part.functionCall) calls.push([part.functionCall.name, part.functionCall.args]);
    }
  }
  return [said, calls];
}

async function vercel(model, prompt, tool) {
  const { streamText, jsonSchema, tool: declared } = await import("ai");
  const tools = tool ? { tools: { write_file: declared({ description: WHAT, inputSchema: jsonSchema(SCHEMA) }) } } : {};
  let said = "";
  const calls = [];
  // The error is among the parts, and would be printed as well.
  for await (const part of streamText({ model, prompt, ...tools, onError: () => {} }).fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") said += part.text;
    if (part.type === "tool-call") calls.push([part.toolName, part.input]);
  }
  return [said, calls];
}

async function vercel_anthropic(url, prompt, tool) {
  const { createAnthropic } = await import("@ai-sdk/anthropic");
  return vercel(createAnthropic({ baseURL: `${url}/v1`, apiKey: KEY })(CLAUDE), prompt, tool);
}

async function vercel_google(url, prompt, tool) {
  const { createGoogleGenerativeAI } = await import("@ai-sdk/google");
  return vercel(createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: KEY })(GEMINI), prompt, tool);
}

const ask = { anthropic, google, vercel_anthropic, vercel_google }[process.argv[2]];
console.log = console.info = console.warn = console.error;
for await (const line of createInterface({ input: process.stdin })) {
  const { url, prompt, tool } = JSON.parse(line);
  let [said, calls, raised] = ["", [], ""];
  try {
    [said, calls] = await ask(url, prompt, tool);
  } catch (error) {
    raised = `${error?.name ?? "Error"}: ${error?.message ?? JSON.stringify(error)}`;
  }
  process.stdout.write(`${JSON.stringify({ said, calls, raised })}\n`);
}

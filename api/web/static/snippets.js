// A question as code that asks it from elsewhere. Pure: the body of POST /api/runs in, text out.

/** What the OpenAI surface is sent: agent and model in one name, everything of ours under `mneme`. */
function chat({ agent, model, input, memory, ...rest }) {
  const mneme = memory === "on" ? rest : { memory, ...rest };
  const messages = [{ role: "user", content: input }];
  const body = { model: model ? `${agent}@${model}` : agent, messages, stream: true };
  return Object.keys(mneme).length ? { ...body, mneme } : body;
}

/** A curl command. A typed task has no place in a conversation, so it goes to /api/runs. */
export function asCurl(body, base) {
  const typed = typeof body.input !== "string";
  const data = JSON.stringify(typed ? body : chat(body), null, 2).replaceAll("'", "'\\''");
  return `curl -N ${base}${typed ? "/api/runs" : "/v1/chat/completions"} \\
  -H "Authorization: Bearer $MNEME_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${data}'`;
}

/** A program over the openai client. */
export function asPython(body, base) {
  if (typeof body.input !== "string") {
    return `# A typed task has no place in a conversation: POST it to ${base}/api/runs, as curl does.`;
  }
  const { model, messages, mneme } = chat(body);
  return `import os

from openai import OpenAI

client = OpenAI(base_url=${python(`${base}/v1`)}, api_key=os.environ.get("MNEME_API_KEY", "none"))
stream = client.chat.completions.create(
    model=${python(model)},
    messages=${python(messages)},
    stream=True,${mneme ? `\n    extra_body=${python({ mneme })},` : ""}
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`;
}

function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
}

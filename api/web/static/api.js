// Calls of the HTTP API from a page. What goes wrong is shown in the notices of the page, in the words of the problem.
import { notice } from "./notices.js";

/** A refusal: `status`, `title`, `detail` of the problem document, and the whole of it as `problem`. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/** The address of something of this application, from its path: `/api/runs` → relative to the root. */
export function address(path) {
  return `${document.body.dataset.root}${path}`;
}

/**
 * Call the API: `await call("POST", "/api/memories", {content})`. Gives `{status, body, etag}`.
 * Options: `etag` goes as If-Match; `key` is the Idempotency-Key, a new one by default; `quiet` leaves the notice to the
 * caller; `signal` aborts. Throws `Refused`, with status 0 when the server could not be reached.
 */
export async function call(method, path, body, { etag, key, quiet = false, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["Idempotency-Key"] = key ?? `ui-${crypto.randomUUID?.() ?? Date.now() + Math.random().toString(36)}`;
  if (etag !== undefined) headers["If-Match"] = String(etag).startsWith('"') ? etag : `"${etag}"`;
  try {
    const reply = await fetch(address(path), { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    const said = reply.headers.get("content-type")?.includes("json") ? await reply.json() : {};
    if (!reply.ok) throw new Refused(reply.status, said);
    return { status: reply.status, body: said, etag: reply.headers.get("ETag")?.replaceAll('"', "") ?? null };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const refused = error instanceof Refused ? error : new Refused(0, { detail: `the server cannot be reached: ${error.message}` });
    if (!quiet) notice(refused.message, "bad");
    throw refused;
  }
}

/** The fields of a form as a value for a body. `data-type="json|number|list|bool"` on a field says what it becomes;
 *  an empty one without a type is left out. Throws `SyntaxError` for JSON that is none, and marks the field. */
export function valuesOf(form) {
  const values = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || ((field.type === "radio" || field.type === "checkbox") && !field.checked && field.dataset.type !== "bool")) continue;
    field.removeAttribute("aria-invalid");
    const value = converted(field);
    if (value === undefined) continue;
    if (field.type === "checkbox" && field.dataset.type !== "bool") (values[field.name] ??= []).push(value);
    else values[field.name] = value;
  }
  return values;
}

function converted(field) {
  const text = field.value;
  switch (field.dataset.type) {
    case "bool": return field.checked;
    case "number": return text === "" ? undefined : Number(text);
    case "list": return text.split(",").map((part) => part.trim()).filter(Boolean);
    case "text": return text;
    case "json":
      if (text.trim() === "") return undefined;
      try {
        return JSON.parse(text);
      } catch (error) {
        field.setAttribute("aria-invalid", "true");
        field.focus();
        throw error;
      }
    default: return text === "" ? undefined : text;
  }
}

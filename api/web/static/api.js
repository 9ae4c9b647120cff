// Calls of the HTTP API from a page. What goes wrong is shown in the notices of the page, in the words of the problem.
import { notice } from "./notices.js";

/** A refusal: its `status`, and the problem document as `problem`. */
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
 * Call the API: `await call("POST", "/api/memories", {content})`. A file as the body goes as it is. Gives the answer as
 * `{status, body}`, where the body is a `Blob` when it is no JSON. Options: `etag` goes as If-Match; `quiet` leaves the
 * notice to the caller. Throws `Refused`, with status 0 when the server could not be reached.
 */
export async function call(method, path, body, { etag, quiet = false } = {}) {
  const headers = { Accept: "application/json, */*;q=0.5" };
  const file = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = file ? "application/octet-stream" : "application/json";
  // Only pages that came by TLS, or from this machine, have randomUUID.
  const unique = crypto.randomUUID?.() ?? Date.now() + Math.random().toString(36);
  if (method !== "GET") headers["Idempotency-Key"] = `ui-${unique}`;
  if (etag !== undefined) headers["If-Match"] = `"${etag}"`;
  try {
    const reply = await fetch(address(path), { method, headers, body: file ? body : JSON.stringify(body) });
    const json = reply.headers.get("content-type")?.includes("json");
    const said = await (json ? reply.json() : reply.blob());
    if (!reply.ok) throw new Refused(reply.status, said);
    return { status: reply.status, body: said };
  } catch (error) {
    const unreached = { detail: `the server cannot be reached: ${error.message}` };
    const refused = error instanceof Refused ? error : new Refused(0, unreached);
    if (!quiet) notice(refused.message, "bad");
    throw refused;
  }
}

/**
 * What the text of a field says to the API; undefined: nothing. `data-type` on the field: `json`, `number`, `bool`;
 * `list`, between commas; `lines`, one a line; `nullable`, null when it is empty. A field without a type says nothing
 * when it is empty. Throws `SyntaxError` for JSON that is none.
 */
export function meant(field, text = field.value) {
  const parts = (mark) => text.split(mark).map((part) => part.trim()).filter(Boolean);
  switch (field.dataset.type) {
    case "bool": return field.type === "checkbox" ? field.checked : text === "true";
    case "number": return text === "" ? undefined : Number(text);
    case "list": return parts(",");
    case "lines": return parts("\n");
    case "nullable": return text.trim() === "" ? null : text;
    case "json": return text.trim() === "" ? undefined : JSON.parse(text);
    default: return text === "" ? undefined : text;
  }
}

/** The fields of a form as a body. Null when one is no JSON: that one is marked, and a notice says so. */
export function valuesOf(form, fields = form.elements) {
  const values = {};
  for (const field of fields) {
    const choice = ["radio", "checkbox"].includes(field.type) && field.dataset.type !== "bool";
    if (!field.name || field.disabled || (choice && !field.checked)) continue;
    field.removeAttribute("aria-invalid");
    try {
      const value = meant(field);
      if (value === undefined) continue;
      if (choice && field.type === "checkbox") (values[field.name] ??= []).push(value);
      else values[field.name] = value;
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      field.closest("details")?.setAttribute("open", "");
      field.focus();
      notice(`This is not JSON: ${error.message}`, "bad");
      return null;
    }
  }
  return values;
}

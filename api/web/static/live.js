// A stream of server-sent events that comes back by itself, behind the last event that arrived.
import { say } from "./notices.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * Follow the stream at `url` (`address("/api/runs/…/stream")`), `onEvent(value, {id, type})` for each event. The id goes
 * back as `Last-Event-ID`, or as `after` when the browser had given up. Says "live" and "reconnecting" in the element
 * with the id `marker`. When `onEvent` returns false, or the server has nothing more (204), the stream is over and
 * `onEnd` is called. `types` names events beside `message`. Gives a function that stops it.
 */
export function live(url, onEvent, { marker = "live", types = [], onEnd = () => {} } = {}) {
  let last = null;
  let source = null;
  let wait = FIRST_WAIT_MS;
  let over = false;
  let planned = 0;

  function stop() {
    over = true;
    clearTimeout(planned);
    source?.close();
    say("", marker);
  }

  function take(message) {
    if (over) return;
    if (message.lastEventId) last = message.lastEventId;
    if (onEvent(JSON.parse(message.data), { id: message.lastEventId, type: message.type }) === false) {
      stop();
      onEnd();
    }
  }

  function place() {
    const target = new URL(url, location.href);
    if (last !== null) target.searchParams.set("after", last);
    return target;
  }

  // The browser gives up on any answer but 200, and does not say which it was.
  async function again() {
    const asked = new AbortController();
    try {
      const reply = await fetch(place(), { headers: { Accept: "text/event-stream" }, signal: asked.signal });
      asked.abort();
      if (over) return;
      if (reply.status === 204) {
        stop();
        onEnd();
        return;
      }
      if (reply.ok) return open();
    } catch {
      // Not reachable: the next attempt says more.
    }
    later();
  }

  function later() {
    if (over) return;
    planned = setTimeout(again, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }

  function open() {
    source = new EventSource(place());
    source.onopen = () => {
      wait = FIRST_WAIT_MS;
      say("live", marker);
    };
    source.onerror = () => {
      if (over) return;
      if (source.readyState === EventSource.CLOSED) again();
      else say("reconnecting", marker);
    };
    source.onmessage = take;
    for (const type of types) source.addEventListener(type, take);
  }

  window.addEventListener("pagehide", stop, { once: true });
  open();
  return stop;
}

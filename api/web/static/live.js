// A stream of server-sent events that comes back by itself, behind the last event that arrived. It is read with fetch and
// eventsource-parser, because EventSource neither says that a stream is over (204) nor takes events of any name. Templates
// let a page follow a stream only under library("eventsource-parser"); the others load page.js without it.
import { say } from "./notices.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * Follow the stream at `url` (`address("/api/runs/…/stream")`), `onEvent(value)` for each event, or for those of
 * `types`. The id of the last one goes back as `after`. Says "live" and "reconnecting" on the page. When `onEvent`
 * returns false, or the server has nothing more, the stream is over and `onEnd` is called. Gives what stops it.
 */
export function live(url, onEvent, { types = null, onEnd = () => {} } = {}) {
  const stopped = new AbortController();
  const target = new URL(url, location.href);
  let wait = FIRST_WAIT_MS;

  function stop() {
    stopped.abort();
    say("");
  }

  function end() {
    stop();
    onEnd();
  }

  // What has no id is no event of ours.
  function take({ id, event, data }) {
    if (id === undefined || stopped.signal.aborted) return;
    target.searchParams.set("after", id);
    if ((!types || types.includes(event)) && onEvent(JSON.parse(data)) === false) end();
  }

  async function read() {
    const { EventSourceParserStream } = await import("./vendor/eventsource-parser.js");
    const reply = await fetch(target, { headers: { Accept: "text/event-stream" }, signal: stopped.signal });
    if (reply.status === 204) return end();
    if (!reply.ok) throw new Error(`the server answered ${reply.status}`);
    say("live");
    wait = FIRST_WAIT_MS;
    const events = reply.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()).getReader();
    for (;;) {
      const { value, done } = await events.read();
      if (done) return;
      // What goes wrong in the page is told by the browser, and not taken for a lost connection.
      queueMicrotask(() => take(value));
    }
  }

  async function follow() {
    while (!stopped.signal.aborted) {
      try {
        await read();
      } catch {
        // Not reachable, or cut off: the next attempt says more.
        if (!stopped.signal.aborted) say("reconnecting");
      }
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  }

  window.addEventListener("pagehide", stop, { once: true });
  window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  follow();
  return stop;
}

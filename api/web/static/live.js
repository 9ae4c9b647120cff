// A stream of server-sent events that comes back by itself, behind the last event that arrived. It is read with fetch,
// because EventSource neither says that a stream is over (204) nor takes events whose names it was not given.
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

  // A frame of ours has one line for each of id, event and data; what has no id is no event.
  function take(frame) {
    const { id, event, data } = Object.fromEntries(frame.split("\n").map((line) => line.split(/: (.*)/s)));
    if (id === undefined || stopped.signal.aborted) return;
    target.searchParams.set("after", id);
    if ((!types || types.includes(event)) && onEvent(JSON.parse(data)) === false) end();
  }

  async function read() {
    const reply = await fetch(target, { headers: { Accept: "text/event-stream" }, signal: stopped.signal });
    if (reply.status === 204) return end();
    if (!reply.ok) throw new Error(`the server answered ${reply.status}`);
    say("live");
    wait = FIRST_WAIT_MS;
    const pieces = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await pieces.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      // What goes wrong in the page is told by the browser, and not taken for a lost connection.
      for (const frame of frames) queueMicrotask(() => take(frame));
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

/* Follows a job of Mainspring in a browser. No dependencies, nothing to build.

     import { watch } from "/jobs/static/mainspring.js";
     const following = watch(jobUrl, { onProgress: (job) => …, onDone: (job) => … });

     <mainspring-progress job="…" label="Export"></mainspring-progress>

   A lost connection is made anew, and goes on after the last event that arrived: none is lost, none comes twice. */

const FIRST_PAUSE = 1000; // ms from a lost connection to the next attempt; doubled each time
const LONGEST_PAUSE = 8000; // a server that is started anew is not to be waited for much longer than it takes
const LONGEST_SILENCE = 40_000; // the server says something every 15 s; after so long the connection is dead
const LONGEST_OPENING = 10_000; // of a socket
const WITHOUT = 60_000; // how long streams do where no socket came through, before another is tried
const LINGER = 5_000; // how long a socket stays open that nobody needs
const AT_ONCE = 500; // jobs on one socket
const OPEN = 1;
const ENDED = ["completed", "dead", "cancelled"];
const LASTING = (status) => status >= 400 && status < 500 && ![408, 425, 429].includes(status);

/* Follow the job at that URL (with its ticket, as `mainspring.web.job_url` makes it). Each handler gets the job as it is
   known by then: { id, task, state, attempt, progress, text, output, result, error, … }.

     onState(job)            its state has changed; of its end one hears when all else has been told
     onProgress(job)         job.progress is 0 to 100 or null, job.text what the task says about it
     onLog(line, job)        line.at, line.text
     onOutput(text, job)     text that was added; job.output is all of it, begun anew when another attempt puts out some
     onDone(job)             it has ended: completed (job.result), dead (job.error, if the ticket shows it), cancelled
     onError(error)          error.detail; error.final: it is given up (no ticket, no job), else it is tried again

   Gives { job, close(), cancel() }; `cancel` asks for the job to be cancelled, for which the ticket must be made. */
export function watch(jobUrl, handlers = {}) {
  const url = new URL(jobUrl, document.baseURI);
  const job = { state: null, progress: null, text: null, output: "", result: null, error: null };
  const tell = (name, ...what) => handlers[name]?.(...what);
  let leave = () => {}; // whatever brings the events

  const heard = {
    snapshot({ state, ...data }) {
      Object.assign(job, data);
      if (!ENDED.includes(state)) heard.state({ state }); // of an end `done` tells, with the result
      if (!follower.closed) tell("onProgress", job);
    },
    state(data) {
      Object.assign(job, data);
      tell("onState", job);
    },
    progress(data) {
      Object.assign(job, data);
      tell("onProgress", job);
    },
    log(data) {
      for (const line of data.lines) if (!follower.closed) tell("onLog", line, job);
    },
    output(data) {
      job.output = data.anew ? data.text : job.output + data.text;
      tell("onOutput", data.text, job);
    },
    done(data) {
      close();
      const before = job.state;
      Object.assign(job, data);
      if (job.state !== before) tell("onState", job);
      tell("onDone", job);
    },
    gone: (data) => follower.fail(data.detail, 404),
    expired: (data) => follower.fail(data.detail, 403),
    refused: (data) => follower.fail(data.detail, 403),
  };

  const follower = {
    url,
    closed: false,
    last: "", // the id of the last event
    hear(name, data, id) {
      // First, so that a handler that fails does not bring the event again.
      if (id) follower.last = id;
      heard[name]?.(data);
    },
    lost: (detail) => tell("onError", { detail, final: false }),
    fail(detail, status) {
      close();
      tell("onError", { detail, status, final: true });
    },
    by: (transport) => (leave = transport),
  };

  function close() {
    follower.closed = true;
    leave();
  }

  async function cancel() {
    const response = await fetch(url, { method: "POST", body: '{"event":"cancel"}' });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? `The server says ${response.status}.`);
    return answer.cancelled;
  }

  // Not before the caller has what this gives: a handler may want to close it.
  queueMicrotask(() => !follower.closed && follow(follower));
  return { job, close, cancel };
}

/* Browsers have six connections to a server, for all tabs together, so a stream for each job would soon be all of them.
   What a page follows comes by one WebSocket; by a stream of its own where there is none to be had. */
function follow(follower) {
  if (!Socket.take(follower)) stream(follower);
}

/* How long to wait before the next attempt; then again not so long, once something has arrived. */
function backOff() {
  let pause = 0;
  let wake = () => {};
  return {
    arrived: () => (pause = 0),
    end: () => wake(),
    async wait() {
      pause = Math.min(pause ? 2 * pause : FIRST_PAUSE, LONGEST_PAUSE);
      await new Promise((resolve) => {
        // Not all at once, when many have lost the same server.
        const timer = setTimeout(() => wake(), pause * (0.5 + Math.random()));
        const seen = () => document.hidden || wake(); // somebody comes back to the page, and looks
        wake = () => {
          clearTimeout(timer);
          removeEventListener("online", wake);
          document.removeEventListener("visibilitychange", seen);
          resolve();
        };
        addEventListener("online", wake);
        document.addEventListener("visibilitychange", seen);
      });
    },
  };
}

/* Calls `dead` when nothing has come for too long: nobody tells a browser that the router in between has died. */
function watchdog(dead) {
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(dead, LONGEST_SILENCE);
  };
  alive();
  return { alive, end: () => clearTimeout(timer) };
}

/* One job by Server-Sent Events, over fetch: an EventSource tells neither why it was refused nor that it is silent. */
async function stream(follower) {
  const pause = (follower.pause ??= backOff());
  const stop = new AbortController();
  follower.by(() => {
    stop.abort();
    pause.end();
  });
  let detail = "The connection was lost.";
  const silence = watchdog(() => {
    detail = "The server has fallen silent.";
    stop.abort();
  });
  try {
    const address = new URL(follower.url);
    if (follower.last) address.searchParams.set("after", follower.last);
    const accept = { Accept: "text/event-stream" };
    const response = await fetch(address, { headers: accept, cache: "no-store", signal: stop.signal });
    if (LASTING(response.status)) {
      const answer = await response.json().catch(() => ({}));
      follower.fail(answer.detail ?? `The server says ${response.status}.`, response.status);
    } else if (response.status === 204) {
      return; // it has told all before
    } else if (!response.ok) {
      detail = `The server says ${response.status}.`;
    } else {
      for await (const event of events(response.body, silence.alive)) {
        pause.arrived();
        if (event.event) follower.hear(event.event, JSON.parse(event.data), event.id);
        if (follower.closed) return;
      }
    }
  } catch (error) {
    if (!stop.signal.aborted) detail = String(error.message ?? error);
  } finally {
    silence.end();
    stop.abort();
  }
  if (follower.closed) return;
  follower.lost(detail);
  await pause.wait();
  if (!follower.closed) follow(follower);
}

/* Many jobs by one WebSocket. */
class Socket {
  static #ways = new Map(); // by address: the sockets there, and until when there are none to be had
  #way;
  #followers = new Map(); // by job
  #running = false;
  #failures = 0; // how often in a row it was not to be had from a server that answers
  #socket = null;
  #hangUp = () => {};
  #lingering;
  #pause = backOff();

  /* Have the follower's job told by a socket. False where there is none to be had, or the URL is none of ours. */
  static take(follower) {
    const found = /^(.*\/)jobs\/[^/]+\/events$/.exec(follower.url.pathname);
    if (!found) return false;
    const address = new URL(`${found[1]}ws`, follower.url);
    address.protocol = follower.url.protocol.replace("http", "ws");
    address.hash = "";
    const way = Socket.#ways.get(address.href) ?? { address: address.href, sockets: [], brokenUntil: 0 };
    Socket.#ways.set(address.href, way);
    if (performance.now() < way.brokenUntil) return false;
    let socket = way.sockets.find((each) => each.#hasRoom(follower));
    if (!socket) way.sockets.push((socket = new Socket(way)));
    socket.#add(follower);
    return true;
  }

  constructor(way) {
    this.#way = way;
  }

  static #job({ url }) {
    return decodeURIComponent(url.pathname.split("/").at(-2));
  }

  /* A job is followed once on each. */
  #hasRoom(follower) {
    return this.#followers.size < AT_ONCE && !this.#followers.has(Socket.#job(follower));
  }

  #add(follower) {
    const job = Socket.#job(follower);
    this.#followers.set(job, follower);
    follower.by(() => this.#drop(job, follower));
    clearTimeout(this.#lingering);
    if (this.#socket?.readyState === OPEN) this.#subscribe(job, follower);
    else if (!this.#running) this.#run();
  }

  #drop(job, follower) {
    if (this.#followers.get(job) !== follower) return;
    this.#followers.delete(job);
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify({ unsubscribe: job }));
    if (!this.#followers.size) this.#lingering = setTimeout(() => this.#hangUp(), LINGER);
  }

  #subscribe(job, follower) {
    const { url, last } = follower;
    follower.isHeard = false;
    const ticket = url.searchParams.get("ticket");
    this.#socket.send(JSON.stringify({ subscribe: job, after: last, ...(ticket === null ? {} : { ticket }) }));
  }

  async #run() {
    this.#running = true;
    while (this.#followers.size) {
      const { opened, detail } = await this.#connect();
      if (!this.#followers.size) break;
      if (opened || !(await this.#answers())) this.#failures = 0;
      else if (++this.#failures < 2) continue; // the server may have come up in between
      else this.#giveUp();
      for (const follower of [...this.#followers.values()]) follower.lost(detail);
      if (this.#followers.size) await this.#pause.wait();
    }
    this.#running = false;
  }

  /* Whether it is but the sockets that do not come through. */
  async #answers() {
    const [follower] = this.#followers.values();
    const headers = { Accept: "application/json" };
    const signal = AbortSignal.timeout(LONGEST_OPENING);
    const asked = follower && fetch(follower.url, { headers, cache: "no-store", signal });
    return asked?.then((answer) => answer.status < 500).catch(() => false);
  }

  /* A proxy lets none through, or a policy forbids them: a stream will do, or tell why not. */
  #giveUp() {
    this.#failures = 0;
    this.#way.brokenUntil = performance.now() + WITHOUT;
    const followers = [...this.#followers.values()];
    this.#followers.clear();
    followers.forEach(stream);
  }

  /* Until the connection has ended; gives whether it was ever open, and why it has ended. */
  #connect() {
    return new Promise((resolve) => {
      let opened = false;
      let socket;
      const over = (detail) => {
        if (socket) socket.onopen = socket.onclose = socket.onerror = socket.onmessage = null;
        silence.end();
        clearTimeout(opening);
        socket?.close();
        this.#socket = null;
        resolve({ opened, detail });
      };
      this.#hangUp = over;
      const lost = () => over("The connection was lost.");
      const silence = watchdog(() => over("The server has fallen silent."));
      const opening = setTimeout(() => over("The server does not answer."), LONGEST_OPENING);
      try {
        socket = this.#socket = new WebSocket(this.#way.address);
      } catch {
        return lost(); // a policy forbids it
      }
      socket.onclose = lost;
      socket.onerror = lost; // of what a policy forbids nothing else is heard
      socket.onopen = () => {
        opened = true;
        clearTimeout(opening);
        for (const [job, follower] of this.#followers) this.#subscribe(job, follower);
        if (!this.#followers.size) over();
      };
      socket.onmessage = ({ data }) => {
        silence.alive();
        this.#pause.arrived();
        const { job, event, data: told, id } = JSON.parse(data);
        const follower = this.#followers.get(job);
        // What comes before that answers whoever followed the job before.
        if (event === "subscribed") follower && (follower.isHeard = true);
        else if (follower?.isHeard || event === "refused") follower?.hear(event, told, id);
      };
    });
  }
}

/* The events of a stream: the fields of each, as text. */
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return; // what is not finished will come again
      alive();
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const event = {};
        for (const line of part.split("\n")) {
          const colon = line.indexOf(":");
          if (colon < 1) continue; // a comment: the server is alive
          event[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
        }
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const TEXTS = {
  blocked: "Waiting",
  scheduled: "Waiting",
  queued: "Waiting",
  running: "Working",
  completed: "Done",
  dead: "Failed",
  cancelled: "Cancelled",
  lost: "Connecting…",
  refused: "Not available",
};

const STYLE = `
  :host { display: block; font: var(--mainspring-font, inherit); }
  :host([hidden]) { display: none; }
  .line { display: flex; justify-content: space-between; gap: 1em; margin-block-end: 0.35em; }
  .text { min-inline-size: 0; overflow-wrap: anywhere; }
  .percent { font-variant-numeric: tabular-nums; white-space: nowrap; }
  .bar {
    block-size: var(--mainspring-height, 0.5rem);
    border-radius: var(--mainspring-radius, 1rem);
    background: var(--mainspring-track, color-mix(in srgb, currentColor 18%, transparent));
    overflow: hidden;
  }
  .fill {
    block-size: 100%;
    inline-size: 0;
    border-radius: inherit;
    background: var(--mainspring-fill, #2563eb);
    transition: inline-size 0.25s ease-out;
  }
  :host([state="completed"]) .fill { background: var(--mainspring-done, #16803c); }
  :host([state="dead"]) .fill, :host([state="refused"]) .fill { background: var(--mainspring-failed, #c62828); }
  :host([state="cancelled"]) .fill { background: var(--mainspring-cancelled, #6b7280); }
  .bar:not([aria-valuenow]) .fill { inline-size: 30%; animation: mainspring-wander 1.6s ease-in-out infinite alternate; }
  @keyframes mainspring-wander { from { margin-inline-start: 0; } to { margin-inline-start: 70%; } }
  @media (prefers-reduced-motion: reduce) {
    .fill { transition: none; }
    .bar:not([aria-valuenow]) .fill { animation: none; inline-size: 100%; opacity: 0.35; }
  }
  @media (forced-colors: active) {
    .bar { border: 1px solid CanvasText; }
    .fill { background: Highlight !important; forced-color-adjust: none; }
  }
  .said { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
let sheet; // one for all of them

/* A bar that follows a job: <mainspring-progress job="…" label="Export"></mainspring-progress>

   Attributes: `job`, its URL with the ticket; `label`, what it is, for screen readers; `text-completed` and the like, in
   place of the words that it has for each state. It shows the state as its own attribute `state`.
   Parts to style: line, text, percent, bar, fill. Properties: --mainspring-height, -radius, -track, -fill, -done,
   -failed, -cancelled, -font. Events, which bubble: job-state, job-progress, job-log, job-output, job-done, job-error;
   their `detail` is the job (of job-log: the line; of job-error: the error). */
export class MainspringProgress extends HTMLElement {
  static observedAttributes = ["job", "label"];
  #following = null;
  #parts = null;
  #shown = { state: null, progress: null, text: null };

  /* The job as it is known by now, or null. */
  get value() {
    return this.#following?.job ?? null;
  }

  /* Ask for the job to be cancelled. Whether there was anything to cancel; the ticket must be made for that. */
  cancel() {
    return this.#following ? this.#following.cancel() : Promise.resolve(false);
  }

  connectedCallback() {
    this.#build();
    this.#follow();
  }

  disconnectedCallback() {
    this.#following?.close();
    this.#following = null;
  }

  attributeChangedCallback(name, before, after) {
    if (!this.#parts || !this.isConnected || before === after) return; // connectedCallback is still to come
    if (name === "job") this.#follow();
    else this.#name();
  }

  #build() {
    if (this.#parts) return;
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
    }
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    const make = (name, parent, tag = "div") => {
      const element = document.createElement(tag);
      element.className = name;
      element.setAttribute("part", name);
      parent.append(element);
      return element;
    };
    const line = make("line", root);
    const bar = make("bar", root);
    this.#parts = {
      text: make("text", line, "span"),
      percent: make("percent", line, "span"),
      bar,
      fill: make("fill", bar),
      said: make("said", root, "span"),
    };
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    this.#parts.said.setAttribute("role", "status");
    this.#name();
  }

  #name() {
    this.#parts?.bar.setAttribute("aria-label", this.getAttribute("label") || "Progress");
  }

  #follow() {
    this.#following?.close();
    this.#following = null;
    this.removeAttribute("state");
    this.#parts.said.textContent = "";
    if (!this.getAttribute("job")) return this.#show({ state: null, progress: null, text: null });
    const following = watch(this.getAttribute("job"), {
      onState: (job) => this.#tell("state", job),
      onProgress: (job) => this.#tell("progress", job),
      onLog: (line) => this.#dispatch("log", line),
      onOutput: (text, job) => this.#dispatch("output", job),
      onDone: (job) => {
        this.#tell("done", job);
        this.#announce(job.state);
      },
      onError: (error) => {
        this.#show({ ...following.job, state: error.final ? "refused" : "lost", text: null });
        if (error.final) this.#announce("refused");
        this.#dispatch("error", error);
      },
    });
    this.#following = following;
    this.#show(following.job);
  }

  #tell(what, job) {
    this.#show(job);
    this.#dispatch(what, job);
  }

  #dispatch(what, detail) {
    this.dispatchEvent(new CustomEvent(`job-${what}`, { detail, bubbles: true, composed: true }));
  }

  #word(state) {
    return this.getAttribute(`text-${state}`) ?? TEXTS[state] ?? "";
  }

  #announce(state) {
    const label = this.getAttribute("label");
    this.#parts.said.textContent = label ? `${label}: ${this.#word(state)}` : this.#word(state);
  }

  #show({ state, progress, text }) {
    const { bar, fill, percent, text: shown } = this.#parts;
    const over = [...ENDED, "refused"].includes(state);
    const value = state === "completed" ? 100 : (progress ?? (over ? 0 : null));
    if (state) this.setAttribute("state", state);
    shown.textContent = (!over && text) || this.#word(state ?? "lost");
    percent.textContent = value === null || (over && state !== "completed") ? "" : `${Math.round(value)} %`;
    if (value === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", String(Math.round(value)));
    bar.setAttribute("aria-valuetext", [percent.textContent, shown.textContent].filter(Boolean).join(", "));
    // By way of the object model, which no content security policy forbids, as it does style attributes.
    fill.style.inlineSize = value === null ? "" : `${over && state !== "completed" ? 100 : value}%`;
  }
}

if (!customElements.get("mainspring-progress")) customElements.define("mainspring-progress", MainspringProgress);

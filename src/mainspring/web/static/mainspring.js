/* Follows a job of Mainspring in a browser. No dependencies, nothing to build.

     import { watch } from "/jobs/static/mainspring.js";
     const following = watch(jobUrl, { onProgress: (job) => …, onDone: (job) => … });

     <mainspring-progress job="…" label="Export"></mainspring-progress>

   A lost connection is made anew, and goes on after the last event that arrived: none is lost, none comes twice. */

const FIRST_PAUSE = 500; // ms from a lost connection to the next attempt; doubled each time
const LONGEST_PAUSE = 30_000;
const LONGEST_OPENING = 10_000; // of a WebSocket
const MOST_FAILURES = 3; // to open the first one; then it is done without
const LONGEST_SILENCE = 40_000; // the server says something every 15 s; after so long the connection is dead
const STREAMS = 1; // what a page follows beyond that shares a WebSocket: browsers have six connections to a server
const LASTING = (status) => status >= 400 && status < 500 && ![408, 425, 429].includes(status);

/* Follow the job at that URL (with its ticket, as `mainspring.web.job_url` makes it). Each handler gets the job as it is
   known by then: { id, task, state, attempt, progress, text, output, result, error, … }.

     onState(job)            its state has changed
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
  let closed = false;
  let last = "";
  let firstPause = FIRST_PAUSE;
  let stop = new AbortController();
  let wake = () => {};

  const heard = {
    snapshot(data) {
      Object.assign(job, data);
      tell("onState", job);
      tell("onProgress", job);
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
      for (const line of data.lines) if (!closed) tell("onLog", line, job);
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
    gone: (data) => fail(data.detail, 404),
    expired: (data) => fail(data.detail, 403),
    refused: (data) => fail(data.detail, 403),
  };

  function close() {
    closed = true;
    stop.abort();
    wake();
  }

  function fail(detail, status) {
    close();
    tell("onError", { detail, status, final: true });
  }

  async function connect() {
    stop = new AbortController();
    const web = Web.of(url);
    if (web?.shares(url)) return read(web.events(url, last, stop.signal));
    web?.began();
    const silence = watchdog(() => stop.abort());
    try {
      await stream(silence);
    } finally {
      silence.end();
      web?.ended();
    }
  }

  async function stream(silence) {
    const address = new URL(url);
    if (last) address.searchParams.set("after", last);
    const response = await fetch(address, {
      headers: { Accept: "text/event-stream" },
      cache: "no-store",
      signal: stop.signal,
    });
    if (LASTING(response.status)) {
      fail((await response.json().catch(() => ({}))).detail ?? `The server says ${response.status}.`, response.status);
    } else if (response.status === 204) {
      close(); // it has told all before
    } else if (!response.ok) {
      throw new Error(`The server says ${response.status}.`);
    } else {
      await read(events(response.body, silence.over, (retry) => (firstPause = retry)));
    }
  }

  async function read(told) {
    for await (const { event, id, data } of told) {
      arrived();
      // First, so that a handler that fails does not bring the event again.
      if (id !== undefined) last = id;
      heard[event]?.(data);
      if (closed) return;
    }
  }

  let pause = 0;
  const arrived = () => (pause = 0);

  async function run() {
    while (!closed) {
      let detail = "The connection was lost.";
      try {
        await connect();
      } catch (error) {
        if (!closed) detail = stop.signal.aborted ? "The server has fallen silent." : String(error.message ?? error);
      }
      if (closed) return;
      tell("onError", { detail, final: false });
      pause = Math.min(pause ? 2 * pause : firstPause, LONGEST_PAUSE);
      // Not all at once, when many have lost the same server.
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pause * (0.5 + Math.random()));
        const soon = () => resolve();
        addEventListener("online", soon, { once: true });
        wake = () => {
          clearTimeout(timer);
          removeEventListener("online", soon);
          resolve();
        };
      });
      wake();
    }
  }

  async function cancel() {
    const response = await fetch(url, { method: "POST", body: '{"event":"cancel"}' });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? `The server says ${response.status}.`);
    return answer.cancelled;
  }

  // Not before the caller has what this gives: a handler may want to close it.
  queueMicrotask(run);
  return { job, close, cancel };
}

/* What a page follows of one web: a stream or two, and over one WebSocket whatever is beyond them. */
class Web {
  static #all = new Map();
  #address;
  #streams = 0;
  #socket = null;
  #opened = false; // ever
  #failures = 0; // to open it, one after the other
  #listeners = new Map(); // by job
  #left = new Set(); // jobs of which something may still come over the socket, and nobody listens

  /* The web that the job is of; nothing where its address does not say. */
  static of(url) {
    const [, root] = EVENTS_OF_A_JOB.exec(url.pathname) ?? [];
    if (root === undefined) return undefined;
    const address = new URL(`${root}ws`, url);
    address.protocol = url.protocol.replace("http", "ws");
    if (!Web.#all.has(address.href)) Web.#all.set(address.href, new Web(address));
    return Web.#all.get(address.href);
  }

  constructor(address) {
    this.#address = address;
  }

  /* Whether the next one to follow that job goes over the socket. Not if what is on the way lets none through. */
  shares(url) {
    const job = jobOf(url);
    const isPossible = this.#opened || this.#failures < MOST_FAILURES;
    return this.#streams >= STREAMS && isPossible && !this.#listeners.has(job) && !this.#left.has(job);
  }

  began() {
    this.#streams += 1;
  }

  ended() {
    this.#streams -= 1;
  }

  /* The events of a job, after that one. Throws when the socket is lost. */
  async *events(url, after, signal) {
    const job = jobOf(url);
    const ticket = url.searchParams.get("ticket");
    const waiting = [];
    let lost = null;
    let isOver = false;
    let wake = () => {};
    const listener = {
      request: JSON.stringify({ subscribe: job, ...(ticket && { ticket }), after }),
      hear(message) {
        waiting.push(message);
        wake();
      },
      lose(error) {
        lost ??= error;
        wake();
      },
    };
    signal.addEventListener("abort", () => listener.lose(new Error("closed")), { once: true });
    this.#listeners.set(job, listener);
    try {
      this.#send(listener.request);
      for (;;) {
        while (waiting.length) {
          isOver = LAST_EVENTS.includes(waiting[0].event);
          yield waiting.shift();
        }
        if (lost) throw lost;
        await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      this.#listeners.delete(job);
      if (!isOver) this.#left.add(job);
      if (this.#listeners.size === 0) this.#hangUp();
      else this.#send(JSON.stringify({ unsubscribe: job }));
    }
  }

  #send(text) {
    if (!this.#socket) this.#open();
    // When it opens, it begins with all that is asked for by then.
    else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  #open() {
    this.#left.clear();
    this.#failures += 1; // until it has opened
    const socket = (this.#socket = new WebSocket(this.#address));
    const lose = (why) => {
      silence.end();
      clearTimeout(opening);
      if (this.#socket !== socket) return;
      this.#hangUp();
      for (const listener of [...this.#listeners.values()]) listener.lose(new Error(why));
    };
    const silence = watchdog(() => lose("The server has fallen silent."));
    const opening = setTimeout(lose, LONGEST_OPENING, "No WebSocket comes through.");
    socket.onopen = () => {
      clearTimeout(opening);
      this.#opened = true;
      this.#failures = 0;
      silence.over();
      for (const { request } of this.#listeners.values()) socket.send(request);
    };
    socket.onmessage = ({ data }) => {
      silence.over();
      const message = JSON.parse(data);
      if (this.#socket === socket) this.#listeners.get(message.job)?.hear(message);
    };
    // What a policy forbids ends in an error alone.
    socket.onclose = socket.onerror = () => lose("The connection was lost.");
  }

  #hangUp() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}

const LAST_EVENTS = ["done", "gone", "expired", "refused"];
const EVENTS_OF_A_JOB = /^(.*\/)jobs\/([^/]+)\/events$/;
const jobOf = (url) => decodeURIComponent(EVENTS_OF_A_JOB.exec(url.pathname)[2]);

/* Gives a connection up on which nothing has come for too long. */
function watchdog(giveUp) {
  let timer;
  const over = () => {
    clearTimeout(timer);
    timer = setTimeout(giveUp, LONGEST_SILENCE);
  };
  over();
  return { over, end: () => clearTimeout(timer) };
}

/* The events of a stream. */
async function* events(body, something, retry) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return; // what is not finished will come again
      something();
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const fields = {};
        for (const line of part.split("\n")) {
          const colon = line.indexOf(":");
          if (colon < 1) continue; // a comment: the server is alive
          fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
        }
        if (Number(fields.retry)) retry(Number(fields.retry));
        if (fields.event) yield { event: fields.event, id: fields.id, data: JSON.parse(fields.data) };
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
    const over = ["completed", "dead", "cancelled", "refused"].includes(state);
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

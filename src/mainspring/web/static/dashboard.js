// The dashboard's own script: makes what is there already nicer. Everything works without it.
//
//   live       parts marked data-live follow what happens: the page itself is asked for again, and what differs put in place
//   times      "3 min ago" goes on, also while nothing is asked for
//   questions  links and buttons that lead to a question show it as a dialog
//   charts     what each point is, read from the table under the chart
//   keys       / ? l, and g followed by the letter of a page
//
// Texts are only ever set as text; nodes come from our own server's pages, parsed without running anything.

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const root = document.body.dataset.root.replace(/(.)\/$/, "$1");

function keep(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${value}; path=${root}; max-age=31622400; samesite=lax${secure}`;
}

function parsed(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

// --- light and dark, and where the reader's clock stands ---

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const zoneIsNew = zone && !document.cookie.includes(`mainspring-zone=${zone}`);
if (zoneIsNew) keep("mainspring-zone", zone);

one("[data-theme-switch]")?.addEventListener("click", (event) => {
  event.preventDefault();
  const html = document.documentElement;
  const shown = html.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  html.dataset.theme = shown === "dark" ? "light" : "dark";
  keep("mainspring-theme", html.dataset.theme);
});

// --- live ---

const PAUSE = 2000;
const SPREAD = 400 * Math.random();
const LONGEST_PAUSE = 30000;
const button = one("[data-live-switch]");
const parts = () => all("[data-live][id]");
const follows = () => one("main [data-live][id]") !== null;
let following = sessionStorage.getItem("mainspring-live") !== "off";
let pause = PAUSE;
let timer;
let asking;

// All tabs ask at the same moments, or nearly: they are shown what the first of them had read.
function untilNext() {
  const left = pause - ((Date.now() - SPREAD) % pause);
  return left < PAUSE / 4 ? left + pause : left;
}

function keyOf(node) {
  return node.nodeType === 1 ? node.dataset?.key || node.id || null : null;
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

// Makes `old` what `fresh` is, and leaves alone what need not change: what has the focus, what is open, what is ticked.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== 1) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  const keys = new Set([...fresh.childNodes].map(keyOf).filter(Boolean));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    let found = at;
    if (key) while (found && keyOf(found) !== key) found = found.nextSibling;
    // What is gone from before it is taken away first: to move it would take the focus from it.
    while (found && at !== found && !keys.has(keyOf(at))) at = without(at);
    if (found && alike(found, wanted)) {
      if (found !== at) old.insertBefore(found, at);
      else at = at.nextSibling;
      morph(found, wanted);
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) at = without(at);
}

// Takes a node away, and gives the one after it.
function without(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// Whoever ticks or writes something is not to have it changed under his hands.
const WRITTEN = "input:not([type=checkbox], [type=radio]), select, textarea";
function busy(part) {
  const written = document.activeElement?.closest(WRITTEN);
  return part.matches(":has(input:checked)") || (written && part.contains(written));
}

async function look() {
  clearTimeout(timer);
  asking?.abort();
  if (!following || document.hidden || !follows()) return;
  if (!one("dialog[open]") && getSelection().isCollapsed) {
    const { signal } = (asking = new AbortController());
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, signal });
      if (!answer.ok || answer.redirected) throw new Error(`status ${answer.status}`);
      const fresh = parsed(await answer.text());
      signal.throwIfAborted();
      setClock(fresh.body);
      for (const part of parts()) {
        const there = fresh.getElementById(part.id);
        if (!there || busy(part)) continue;
        const atEnd = part.scrollHeight - part.scrollTop - part.clientHeight < 8;
        morph(part, there);
        if (atEnd && "follow" in part.dataset) part.scrollTop = part.scrollHeight;
      }
      for (const tip of all("[data-plot]")) tip.pointAgain?.();
      tellTimes();
      pause = PAUSE;
    } catch {
      // Whoever gave it up goes on himself, or has paused.
      if (signal.aborted) return;
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }
  say();
  timer = setTimeout(look, untilNext());
}

function say() {
  const late = pause > PAUSE;
  button.classList.toggle("late", late);
  button.setAttribute("aria-pressed", String(following));
  one("[data-live-word]").textContent = !following ? "Paused" : late ? "No answer" : "Live";
}

function follow(wanted) {
  following = wanted;
  sessionStorage.setItem("mainspring-live", wanted ? "on" : "off");
  pause = PAUSE;
  say();
  look();
}

if (follows()) {
  button.hidden = false;
  button.addEventListener("click", () => follow(!following));
  document.addEventListener("visibilitychange", look);
  say();
  // A page that was made before the reader's clock was known tells the server's.
  timer = setTimeout(look, zoneIsNew ? 0 : untilNext());
}

// --- times that go on ---

// How far this machine's clock is ahead of the server's.
let ahead = 0;
function setClock(body) {
  ahead = Date.now() - Number(body.dataset.now);
}

// As `span` in mainspring.model.durations says it.
function span(seconds) {
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(0)}\u202fms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)}\u202fs`;
  if (seconds < 59.5) return `${seconds.toFixed(0)}\u202fs`;
  const minutes = Math.max(1, Math.floor(seconds / 60));
  if (minutes < 60) return `${minutes}\u202fmin`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 && hours < 10 ? `${hours}\u00a0h\u00a0${minutes % 60}\u00a0min` : `${hours}\u202fh`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 3 ? `${days}\u00a0d\u00a0${hours % 24}\u00a0h` : `${days}\u202fd`;
}

function tellTimes() {
  for (const time of all("time[data-ago]")) {
    const passed = (Date.now() - ahead - Date.parse(time.dateTime)) / 1000;
    const told = Math.abs(passed) < 1 ? "now" : passed > 0 ? `${span(passed)} ago` : `in ${span(-passed)}`;
    if (time.textContent !== told) time.textContent = told;
  }
}

setClock(document.body);
setInterval(() => document.hidden || tellTimes(), 1000);

// --- forms, and questions before them ---

// A second click must not do it twice.
let sent = false;
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.defaultPrevented) return;
  if (sent) event.preventDefault();
  sent = true;
  setTimeout(() => (sent = false), 10000);
});
addEventListener("pageshow", (event) => {
  if (event.persisted) sent = false;
});

const dialog = one("[data-asking]");

function show(page) {
  const question = one("[data-question]", page);
  if (!question) {
    const alert = one("main [role=alert]", page);
    if (!alert) return false;
    one("[data-notices]").replaceChildren(document.importNode(alert, true));
    one("[data-notices]").scrollIntoView({ block: "nearest" });
    return true;
  }
  dialog.replaceChildren(document.importNode(question, true));
  one("[data-no]", dialog)?.addEventListener("click", (event) => {
    event.preventDefault();
    dialog.close();
  });
  dialog.showModal();
  return true;
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-ask]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href);
    if (show(parsed(await answer.text()))) return;
  } catch {}
  location.assign(link.href);
});

const bulk = one("form[data-bulk]");
bulk?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(bulk, event.submitter);
  try {
    const answer = await fetch(bulk.action, { method: "POST", body: new URLSearchParams(form) });
    if (show(parsed(await answer.text()))) return;
  } catch {}
  const deed = Object.assign(document.createElement("input"), { type: "hidden", name: "deed", value: event.submitter?.value });
  bulk.append(deed);
  bulk.submit();
});

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

// --- ticking rows ---

const says = one("[data-selected-count]");
const everything = one("[data-select-all]");
let lastTicked;

function count() {
  const boxes = all("input[name=id]", bulk);
  const ticked = boxes.filter((box) => box.checked).length;
  says.textContent = ticked ? `${ticked} ticked; meanwhile the list stands still` : "Tick jobs, or choose all that fit";
  everything.checked = ticked > 0 && ticked === boxes.length;
  everything.indeterminate = ticked > 0 && ticked < boxes.length;
}

if (bulk && everything) {
  everything.hidden = false;
  everything.setAttribute("aria-label", "Tick all on this page");
  everything.addEventListener("change", () => {
    for (const box of all("input[name=id]", bulk)) box.checked = everything.checked;
    count();
  });
  bulk.addEventListener("click", (event) => {
    if (!event.target.matches("input[name=id]")) return;
    const boxes = all("input[name=id]", bulk);
    const [from, to] = [boxes.indexOf(lastTicked), boxes.indexOf(event.target)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const box of boxes.slice(from, to + 1)) box.checked = event.target.checked;
    lastTicked = event.target;
    count();
  });
  count();
}

// --- charts ---

function point(plot, x) {
  const figure = plot.closest("[data-chart]");
  const field = one(".field", plot).getBoundingClientRect();
  const count = Number(figure.dataset.points);
  const index = Math.floor(((x - field.left) / field.width) * count);
  const row = one("tbody", figure)?.rows[index];
  if (!row) return unpoint(plot);
  let tip = one(".tip", plot);
  let cross = one(".cross", plot);
  if (!tip) {
    tip = Object.assign(document.createElement("div"), { className: "tip" });
    cross = Object.assign(document.createElement("div"), { className: "cross" });
    tip.setAttribute("aria-hidden", "true");
    plot.append(cross, tip);
  }
  const when = document.createElement("b");
  when.textContent = row.cells[0].textContent;
  const names = all("thead th", figure).slice(1);
  const lines = names.map((name, at) => {
    const line = document.createElement("span");
    const value = document.createElement("b");
    value.textContent = row.cells[at + 1].textContent;
    line.append(name.textContent, value);
    return line;
  });
  tip.replaceChildren(when, ...lines);
  const within = plot.getBoundingClientRect();
  const left = Math.round(field.left - within.left + ((index + 0.5) / count) * field.width);
  cross.style.left = `${left}px`;
  const room = within.width - left - tip.offsetWidth - 12;
  tip.style.left = `${room > 0 ? left + 12 : left - tip.offsetWidth - 12}px`;
  plot.pointAgain = () => point(plot, x);
}

function unpoint(plot) {
  one(".tip", plot)?.remove();
  one(".cross", plot)?.remove();
  plot.pointAgain = null;
}

document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest?.("[data-plot]");
  for (const other of all("[data-plot]")) if (other !== plot && other.pointAgain) unpoint(other);
  if (plot) point(plot, event.clientX);
});

// --- keys ---

const help = one("[data-keys]");
const opener = one("[data-keys-open]");
opener.hidden = false;
opener.addEventListener("click", () => help.showModal());
let going = 0;

// Who speaks to his machine, or hits keys by mistake, can turn them off.
const keysWork = one("[data-keys-on]");
keysWork.checked = localStorage.getItem("mainspring-keys") !== "off";
keysWork.addEventListener("change", () => localStorage.setItem("mainspring-keys", keysWork.checked ? "on" : "off"));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
  if (event.key === " " && event.target.matches("a[role=button]")) {
    event.preventDefault();
    event.target.click();
    return;
  }
  if (event.target.closest(WRITTEN)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!keysWork.checked) return;
  if (going && Date.now() - going < 1500) {
    going = 0;
    const link = all("[data-key]").find((each) => each.matches("nav a") && each.dataset.key === event.key);
    if (link) {
      event.preventDefault();
      location.assign(link.href);
    }
  } else if (event.key === "g") {
    going = Date.now();
  } else if (event.key === "/") {
    event.preventDefault();
    one("#q").focus();
  } else if (event.key === "?") {
    help.showModal();
  } else if (event.key === "l" && !button.hidden) {
    follow(!following);
  }
});

// --- small things ---

for (const strip of all(".tabs")) one("[aria-current]", strip)?.scrollIntoView({ block: "nearest", inline: "center" });
for (const log of all("[data-follow]")) log.scrollTop = log.scrollHeight;
if (/[?&]done=/.test(location.search)) {
  const rest = new URLSearchParams(location.search);
  for (const name of ["done", "n"]) rest.delete(name);
  history.replaceState(null, "", location.pathname + (rest.size ? `?${rest}` : ""));
}

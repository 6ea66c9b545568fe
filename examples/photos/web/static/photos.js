// Sends photos, lets their bars move, and asks for a tile again when its job has ended. How things look comes from the
// server, which renders the same tiles for pages that are opened later.

import "/jobs/static/mainspring.js";

const SENT_AT_ONCE = 2;
const NEW_TICKET_MS = 3000;
const LAST = "photos.album";

const find = (selector, within = document) => within.querySelector(selector);
const main = find("main");
const tiles = find("[data-tiles]");
const summary = find("[data-summary]");
const intake = find("[data-intake]");

const say = (text) => { find("[data-said]").textContent = text; };

const fragment = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;  // rendered by our own server, which escapes whatever comes from others
  return template.content.firstElementChild;
};

// --- what changes ---

// The network may be away just when something has happened: asked until there is an answer.
async function ask(url) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 5000)) {
    try {
      const answer = await fetch(url);
      if (answer.status < 500) return { ok: answer.ok, html: await answer.text() };
    } catch { /* there is none, or only a part of one */ }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function put(old, html) {
  const fresh = fragment(html);
  const hadFocus = old.contains(document.activeElement);
  fresh.classList.add("fresh");
  old.replaceWith(fresh);
  if (hadFocus) find("a, button, input", fresh)?.focus();
  return fresh;
}

async function refresh(tile) {
  const answer = await ask(tile.dataset.tile);
  if (!answer.ok || !tile.isConnected) return;
  const fresh = put(tile, answer.html);
  const name = find(".name", fresh).textContent;
  if (fresh.classList.contains("done")) say(`${name} is developed`);
  if (fresh.classList.contains("wrong")) say(`${name} went wrong: ${find(".reason", fresh).textContent}`);
}

let summing = false;
let sumAgain = false;

async function sumUp() {
  sumAgain = true;
  if (summing) return;
  summing = true;
  try {
    while (sumAgain) {
      sumAgain = false;
      const answer = await ask(`${main.dataset.album}/summary`);
      if (answer.ok) summary.innerHTML = answer.html;
      const there = document.querySelectorAll("[data-tile]").length;
      if (sending + waiting.length === 0 && find("[data-count]", summary)?.dataset.count > there) await addMissing();
    }
  } finally {
    summing = false;
  }
}

// Photos that were dropped into another tab.
async function addMissing() {
  const answer = await ask(main.dataset.album);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(answer.html, "text/html");
  for (const tile of page.querySelectorAll("[data-tile]")) {
    if (document.getElementById(tile.id)) continue;
    const next = [...document.querySelectorAll("[data-tile]")].find((each) => each.id > tile.id);
    next ? next.before(tile) : tiles.append(tile);
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && main.dataset.album) sumUp(); });

function ended(bar) {
  const tile = bar.closest("[data-tile]");
  if (tile) refresh(tile).finally(sumUp);
  else sumUp();
}

document.addEventListener("job-done", (event) => ended(event.target));
document.addEventListener("job-error", (event) => {
  // Its ticket has expired, or was made by a server that had another secret: the tile comes with a new one.
  if (event.detail.final) setTimeout(ended, NEW_TICKET_MS, event.target);
});

// --- sending ---

const waiting = [];
let sending = 0;

async function begin() {
  if (main.dataset.album) return;
  const answer = await fetch("/albums", { method: "POST" });
  if (!answer.ok) throw new Error(await answer.text());
  main.dataset.album = answer.headers.get("Location");
  find("[data-camera]").action = `${main.dataset.album}/camera`;
  remember();
  history.replaceState(null, "", main.dataset.album);
}

// What will not do whenever it is tried again.
class Refused extends Error {}

function post(method, url, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => onProgress(100 * event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) resolve(request.responseText);
      else if (request.status < 500) reject(new Refused(request.responseText));
      else reject(new Error("something went wrong there"));
    };
    request.onerror = () => reject(new Error("the connection was lost"));
    request.open(method, url);
    request.send(file);
  });
}

function arriving(file) {
  const tile = find("[data-arriving]").content.firstElementChild.cloneNode(true);
  find(".name", tile).textContent = file.name;
  find("progress", tile).setAttribute("aria-label", `Sending ${file.name}`);
  find("[data-again]", tile).addEventListener("click", () => enqueue({ ...tile.sent, tile }));
  find("[data-away]", tile).addEventListener("click", () => {
    tile.remove();
    find("[data-files]").focus();
  });
  return tile;
}

function enqueue(sent) {
  sent.tile.sent = sent;
  sent.tile.classList.remove("wrong");
  for (const button of sent.tile.querySelectorAll("button")) button.hidden = true;
  find("[data-stage]", sent.tile).className = "facts";
  find("[data-stage]", sent.tile).textContent = "waits to be sent";
  waiting.push(sent);
  work();
}

async function work() {
  if (sending >= SENT_AT_ONCE || waiting.length === 0) return;
  sending += 1;
  const sent = waiting.shift();
  const stage = find("[data-stage]", sent.tile);
  try {
    const { most, mostBytes } = intake.dataset;
    if (sent.file.size > Number(mostBytes)) throw new Refused(`it has more than ${mostBytes / 1e6} MB`);
    if (sent.method === "POST" && document.querySelectorAll("[data-tile]").length >= most)
      throw new Refused(`an album has room for ${most} photos, and this one is full`);
    stage.textContent = "on its way";
    const html = await post(sent.method, sent.url(), sent.file, (percent) => {
      find("progress", sent.tile).value = percent;
    });
    put(sent.tile, html);
  } catch (error) {
    stage.className = "reason";
    stage.textContent = `Not sent: ${error.message}`;
    sent.tile.classList.add("wrong");
    find("[data-again]", sent.tile).hidden = error instanceof Refused;
    find("[data-away]", sent.tile).hidden = false;
    say(`${sent.file.name} was not sent: ${error.message}`);
  }
  sending -= 1;
  sumUp();
  work();
}

async function send(files) {
  if (files.length === 0) return;
  try {
    await begin();
  } catch (error) {
    say(`No album could be begun: ${error.message}`);
    return;
  }
  say(`${files.length} ${files.length === 1 ? "photo is" : "photos are"} on the way`);
  for (const file of files) {
    const tile = arriving(file);
    tiles.append(tile);
    enqueue({ file, tile, method: "POST", url: () => `${main.dataset.album}/photos?name=${encodeURIComponent(file.name)}` });
  }
}

function replace(tile, file) {
  const copy = arriving(file);
  find(".name", copy).textContent = find(".name", tile).textContent;
  const url = tile.dataset.tile;
  tile.replaceWith(copy);
  enqueue({ file, tile: copy, method: "PUT", url: () => url });
}

addEventListener("beforeunload", (event) => {
  if (sending + waiting.length > 0) event.preventDefault();  // what has not been sent would be lost; what has would not
});

// --- choosing and dropping ---

document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.matches("[data-files]")) {
    send([...input.files]);
    input.value = "";
  } else if (input.matches("[data-replace]") && input.files.length > 0) {
    replace(input.closest("[data-tile]"), input.files[0]);
  }
});

let over = 0;
addEventListener("dragenter", () => { over += 1; intake.classList.add("over"); });
addEventListener("dragleave", () => { over -= 1; if (over <= 0) intake.classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  intake.classList.remove("over");
  send([...event.dataTransfer.files]);
});

document.addEventListener("submit", async (event) => {
  if (!event.target.matches("[data-retry]")) return;
  event.preventDefault();
  const tile = event.target.closest("[data-tile]");
  for (const each of tile.querySelectorAll("button, input")) each.disabled = true;
  try {
    await fetch(event.target.action, { method: "POST", redirect: "manual" });
  } catch {
    say("The connection was lost; try again.");
  }
  await refresh(tile);
  sumUp();
});

// --- coming back ---

function remember() {
  try { localStorage.setItem(LAST, main.dataset.album); } catch { /* then the address is all there is */ }
}

async function offerLast() {
  const last = localStorage.getItem(LAST);
  if (!last) return;
  const answer = await fetch(`${last}/summary`);
  if (answer.ok) Object.assign(find("[data-last]"), { href: last, hidden: false });
  else if (answer.status === 404) localStorage.removeItem(LAST);
}

if (main.dataset.album) remember();
else offerLast().catch(() => {});

addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

find("[data-copy]")?.addEventListener("click", async () => {
  await navigator.clipboard.writeText(location.href);
  say("The address is copied");
  find("[data-copy]").textContent = "Copied";
});

// --- looking ---

const light = find("[data-light]");
let shown = null;

function show(link) {
  shown = link;
  const name = find(".name", link.closest(".tile")).textContent;
  Object.assign(find("[data-large]"), { src: link.href, alt: name });
  find("[data-caption]").textContent = name;
  if (!light.open) light.showModal();
}

function step(by) {
  const links = [...document.querySelectorAll("[data-open]")];
  if (links.length > 0) show(links[(links.indexOf(shown) + by + links.length) % links.length]);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-open]");
  const button = event.target.closest("[data-step]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(link);
  } else if (button) {
    event.preventDefault();
    step(Number(button.dataset.step));
  } else if (event.target === light) {
    light.close();
  }
});

light.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
light.addEventListener("close", () => shown?.isConnected && shown.focus());

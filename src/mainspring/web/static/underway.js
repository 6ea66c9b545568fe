// What one request does not come to the end of goes on by itself, until it is done or somebody stops it. Without this
// script the button "Go on" does the same, one press for each request.

const form = document.querySelector("form[data-underway]");
const part = (name) => form.querySelector(`[data-underway-${name}]`);
let stopping = false;

function wait() {
  part("go").hidden = true;
  part("hint").textContent = stopping
    ? "It stops as soon as the present request has ended."
    : "This goes on as long as the page is open. What is done is done; what comes later is not meant.";
}

// Whatever the request has come to by then counts; so it is waited for.
form.addEventListener("click", (event) => {
  if (!event.target.closest("[data-underway-stop]") || part("go").hidden === false) return;
  event.preventDefault();
  stopping = true;
  wait();
});

async function goOn() {
  wait();
  try {
    for (;;) {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.redirected) return location.replace(answer.url);
      const fresh = page.querySelector("form[data-underway]");
      if (!fresh) throw new Error(page.querySelector("main [role=alert]")?.textContent.trim() || `status ${answer.status}`);
      for (const same of ["[data-underway-says]", "[data-underway-bar]"]) {
        form.querySelector(same).replaceChildren(...document.importNode(fresh.querySelector(same), true).childNodes);
      }
      form.elements.carried.value = fresh.elements.carried.value;
      part("stop").setAttribute("href", fresh.querySelector("[data-underway-stop]").getAttribute("href"));
      document.title = page.title;
      if (stopping) return location.replace(part("stop").href);
    }
  } catch (error) {
    stopping = false;
    part("go").hidden = false;
    part("hint").textContent = `It has stopped: ${error.message}. What is done is done.`;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  goOn();
});
goOn();

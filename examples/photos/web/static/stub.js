customElements.define("mainspring-progress", class extends HTMLElement {
  connectedCallback() {
    this.innerHTML = "<progress max=100></progress><p class=facts></p>";
    this.firstElementChild.setAttribute("aria-label", "Progress");
    this.timer = setInterval(() => this.look(), 300);
  }
  disconnectedCallback() { clearInterval(this.timer); }
  async look() {
    const job = await (await fetch(this.getAttribute("job"))).json();
    this.firstElementChild.value = job.progress ?? 0;
    this.lastElementChild.textContent = job.text ?? job.state;
    if (job.done) { clearInterval(this.timer); this.dispatchEvent(new CustomEvent("mainspring-done", { bubbles: true })); }
  }
});

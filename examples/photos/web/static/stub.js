customElements.define("mainspring-progress", class extends HTMLElement {
  connectedCallback() {
    this.innerHTML = "<progress max=100 aria-label=Progress></progress><p class=facts></p>";
    this.source = new EventSource(this.getAttribute("job"));
    const show = (event) => {
      const job = JSON.parse(event.data);
      if ("progress" in job) this.firstElementChild.value = job.progress ?? 0;
      if (job.text || job.state) this.lastElementChild.textContent = job.text || job.state;
    };
    for (const name of ["snapshot", "state", "progress"]) this.source.addEventListener(name, show);
    for (const name of ["done", "gone"]) this.source.addEventListener(name, () => {
      this.source.close();
      this.dispatchEvent(new CustomEvent("mainspring-done", { bubbles: true }));
    });
  }
  disconnectedCallback() { this.source.close(); }
});

// Puts the page together, and keeps what was chosen in the address.

class Page {
  constructor(data) {
    this.data = data;
    this.source = data.remote ? new RemoteSource(data) : new EmbeddedSource(data);
    this.form = this.source.form;
    for (const one of ["values", "mean"]) data.average[one] = unpacked(data.average[one]).values;
  }

  build() {
    const { data } = this;
    this.tabs();
    this.explorer = byId("examples") ? new Explorer(this) : null;
    for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => this.showExample(Number(button.dataset.example)));
    this.suspects = data.suspects.length ? new Suspects(this) : null;
    this.trust = data.held_out ? new Trust(this) : null;
    this.matrix = null;
    byId("text-close").addEventListener("click", () => byId("text-dialog").close());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    addEventListener("hashchange", () => this.recall());
    this.source.changed = () => this.refresh();
    this.recall();
  }

  // Rows have come that weren't known.
  refresh() {
    if (this.explorer) this.explorer.list.refresh();
  }

  // Draws what is in sight; of a large pool the matrix takes long to make, and is made when it is first looked at.
  redraw() {
    if (this.tab === "explore") this.explorer.changed();
    if (this.tab === "matrix" && this.data.matrix) {
      this.matrix ??= new Matrix(this);
      this.matrix.draw();
    }
    if (this.tab === "trust" && this.trust) this.trust.show();
  }

  tabs() {
    const tabs = [...document.querySelectorAll("[role=tab]")];
    tabs.forEach((tab, place) => {
      tab.addEventListener("click", () => this.showTab(tab.dataset.tab));
      tab.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        const next = tabs[(place + by + tabs.length) % tabs.length];
        next.focus();
        this.showTab(next.dataset.tab);
      });
    });
  }

  showTab(name) {
    const known = document.querySelector(`[data-tab="${CSS.escape(name)}"]`) ? name : document.querySelector("[role=tab]").dataset.tab;
    for (const tab of document.querySelectorAll("[role=tab]")) {
      const chosen = tab.dataset.tab === known;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      byId(`panel-${tab.dataset.tab}`).hidden = !chosen;
    }
    this.tab = known;
    this.remember();
    this.redraw();
  }

  async showExample(row) {
    const duplicates = this.data.duplicates.filter((pair) => pair.includes(row)).map(([a, b]) => (a === row ? b : a));
    const [example, ...others] = await this.source.whole([row, ...duplicates]);
    byId("text-title").textContent = example.id;
    const fields = Object.entries(this.data.groups).map(([name, group]) => (group.of[row] < 0 ? null : `${name}: ${group.values[group.of[row]]}`));
    const near = others.map((one) => one.id);
    byId("text-body").replaceChildren(
      element("p", { class: "quiet" }, [...fields, near.length ? `near-duplicates: ${near.join(", ")}` : null].filter(Boolean).join("; ")),
      exampleText(example),
    );
    byId("text-dialog").showModal();
  }

  // The state in the address: a bit an example, the tests shown, the tab.
  remember() {
    if (!this.explorer) return this.address(new URLSearchParams({ tab: this.tab }));
    const { explorer } = this;
    const parts = new URLSearchParams();
    parts.set("tab", this.tab || "explore");
    if (explorer.on.some((one) => !one)) parts.set("off", bitsOf(explorer.on.map((one) => 1 - one)).replace(/A+=*$/, "").replaceAll("+", "-").replaceAll("/", "_"));
    if (explorer.shown.length) parts.set("tests", explorer.shown.join("."));
    if (this.suspects && this.suspects.dropped().length) parts.set("drop", this.suspects.dropped().join("."));
    this.address(parts);
  }

  address(parts) {
    const hash = `#${parts}`;
    if (hash !== location.hash) {
      this.own = hash;
      history.replaceState(null, "", hash);
    }
  }

  recall() {
    if (location.hash === this.own) return;
    const parts = new URLSearchParams(location.hash.slice(1));
    const { explorer } = this;
    if (!explorer) return this.showTab(parts.get("tab") || "");
    const places = (text, count) =>
      (text || "").split(".").filter((one) => /^\d+$/.test(one)).map(Number).filter((one) => one < count);
    try {
      const text = (parts.get("off") || "").replaceAll("-", "+").replaceAll("_", "/");
      const bytes = atob(text.padEnd(Math.ceil(text.length / 4) * 4, "A"));
      explorer.on = explorer.on.map((_, row) => ((bytes.charCodeAt(row >> 3) || 0) >> (row & 7)) & 1 ? 0 : 1);
    } catch {
      tell("The address names no subset that can be read: all examples are on.");
    }
    explorer.shown = places(parts.get("tests"), this.data.tests.length).slice(0, MOST_CHARTS);
    if (!explorer.shown.length && this.form) {
      explorer.shown = this.data.shown_tests.slice(0, MOST_CHARTS);
    }
    if (this.suspects) this.suspects.set(places(parts.get("drop"), this.data.pool.length));
    explorer.filter();
    this.showTab(parts.get("tab") || "");
  }
}

const page = new Page(JSON.parse(byId("data").textContent));
window.gptfl = page;

async function begin() {
  await page.source.start();
  page.build();
  document.documentElement.dataset.ready = "yes";
}

begin();

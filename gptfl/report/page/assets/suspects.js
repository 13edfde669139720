// Rows to read first, and what to do with each.

class Suspects {
  constructor(page) {
    Object.assign(this, { page, data: page.data });
    this.choices = new Map();
    byId("suspects-list").append(...this.data.suspects.map((one, place) => this.card(one, place)));
    byId("drop-copy").addEventListener("click", () => this.take((text) => copy(text, `${this.dropped().length} ids to drop`)));
    byId("drop-save").addEventListener("click", () => this.take((text) => download(text, "drop.txt")));
    byId("drop-verify").addEventListener("click", () => copy(this.data.commands.verify_drop, "the command: it takes the saved drop.txt"));
    byId("drop-try").addEventListener("click", () => {
      const on = new Uint8Array(this.data.pool.length).fill(1);
      for (const row of this.dropped()) on[row] = 0;
      page.explorer.choose(on, "without the dropped rows");
      page.showTab("explore");
    });
    this.count();
  }

  card(one, place) {
    const example = this.data.pool[one.row];
    const decide = (choice) => {
      this.choices.set(one.row, this.choices.get(one.row) === choice ? undefined : choice);
      this.mark(card, one.row);
      this.count();
      this.page.remember();
    };
    const card = element(
      "li",
      { class: "card", "data-suspect": one.row },
      element(
        "header",
        {},
        element("h3", {}, `${place + 1}. ${example.id}`),
        element("div", { class: "choice" },
          element("button", { type: "button", "data-choice": "keep", "aria-pressed": "false", onclick: () => decide("keep") }, "keep"),
          element("button", { type: "button", "data-choice": "drop", "aria-pressed": "false", onclick: () => decide("drop") }, "drop"),
        ),
      ),
      element("ul", { class: "why" }, one.why.map((text) => element("li", {}, text))),
      exampleText(example),
    );
    return card;
  }

  mark(card, row) {
    for (const button of card.querySelectorAll("[data-choice]")) button.setAttribute("aria-pressed", String(this.choices.get(row) === button.dataset.choice));
    card.classList.toggle("dropped", this.choices.get(row) === "drop");
  }

  set(rows) {
    this.choices = new Map(rows.map((row) => [row, "drop"]));
    for (const card of document.querySelectorAll("[data-suspect]")) this.mark(card, Number(card.dataset.suspect));
    this.count();
  }

  dropped() {
    return [...this.choices].filter(([, choice]) => choice === "drop").map(([row]) => row).sort((a, b) => a - b);
  }

  count() {
    const count = this.dropped().length;
    byId("patch").textContent = count === 1 ? "1 row to drop" : `${count} rows to drop`;
    for (const id of ["drop-copy", "drop-save", "drop-verify", "drop-try"]) byId(id).disabled = !count;
  }

  async take(use) {
    const rows = await this.page.source.whole(this.dropped());
    use(`${rows.map((example) => example.written).join("\n")}\n`);
  }
}

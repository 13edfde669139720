// The what-if explorer: switches of training examples on the left, what training on those that are on gives on the right.

const MOST_CHARTS = 4;

class Explorer {
  constructor(page) {
    Object.assign(this, { page, data: page.data, form: page.form });
    this.on = new Uint8Array(this.data.pool.length).fill(1);
    this.shown = [];
    this.against = "average";
    this.sort = "order";
    this.open = null;
    this.pinned = null;
    this.pending = false;
    this.build();
  }

  build() {
    const { data } = this;
    const list = byId("examples");
    this.list = new LongList(list, 44, (row) => this.row(row));
    byId("search").addEventListener("input", () => this.filter());
    byId("filter-state").addEventListener("change", () => this.filter());
    byId("sort").addEventListener("change", (event) => {
      this.sort = event.target.value;
      this.filter();
    });
    byId("against").addEventListener("change", (event) => {
      this.against = event.target.value;
      this.changed();
    });
    this.buildGroups();
    this.buildPresets();
    this.buildTests();
    byId("copy-ids").addEventListener("click", () => this.take((text) => copy(text, `the ${counted(this.on)} ids that are on`)));
    byId("save-ids").addEventListener("click", () => this.take((text) => download(text, "subset.txt")));
    byId("copy-simulate").addEventListener("click", () => copy(data.commands.simulate, "the command: it takes the saved subset.txt"));
    byId("copy-verify").addEventListener("click", () => copy(data.commands.verify, "the command: it takes the saved subset.txt"));
    byId("pin").addEventListener("click", () => {
      this.pinned = this.on.slice();
      byId("against-pinned").disabled = false;
      byId("against").value = this.against = "pinned";
      this.changed();
      tell(`Held: ${counted(this.pinned)} examples. Changes are against these now.`);
    });
    this.mean = new Trajectory(byId("mean-chart"), `mean of ${data.tests.length} test examples`, 260);
    this.charts = [];
    byId("legend").append(
      legend([
        ["predicted for this subset, in the mean over all orders", "predicted"],
        ["average recorded run", "average"],
        ...(this.form && this.form.reach ? [["90 % of such runs", "band"]] : []),
      ]),
    );
    this.filter();
  }

  buildGroups() {
    const filter = byId("filter-group");
    const place = byId("groups");
    for (const [name, group] of Object.entries(this.data.groups)) {
      const part = element("optgroup", { label: name });
      group.values.forEach((value, number) => part.append(element("option", { value: `${name}\u0000${number}` }, value)));
      filter.append(part);
      place.append(
        element(
          "fieldset",
          {},
          element("legend", {}, name),
          group.values.map((value, number) => {
            const members = group.of.reduce((count, one) => count + (one === number), 0);
            const box = element("input", { type: "checkbox", checked: true, "data-group": name, "data-number": number });
            box.addEventListener("change", () => this.setGroup(name, number, box.checked));
            return element("label", {}, box, ` ${value} (${members})`);
          }),
        ),
      );
    }
    if (!Object.keys(this.data.groups).length) place.hidden = true;
    filter.addEventListener("change", () => this.filter());
  }

  buildPresets() {
    const place = byId("presets");
    const harm = this.data.influence ? this.data.influence.order.slice().reverse() : null;
    const add = (name, choose) => place.append(element("button", { type: "button", onclick: () => this.choose(choose(), name) }, name));
    const all = () => new Uint8Array(this.data.pool.length).fill(1);
    const without = (rows) => {
      const found = all();
      for (const row of rows) found[row] = 0;
      return found;
    };
    add("all", all);
    add("none", () => new Uint8Array(this.data.pool.length));
    if (harm) {
      const count = element("input", { type: "number", id: "harmful-count", min: 1, max: this.data.pool.length - 1, value: Math.max(1, Math.round(this.data.pool.length / 20)), "aria-label": "how many of the most harmful" });
      place.append(
        element("span", { class: "joined" }, element("button", { type: "button", onclick: () => {
          const taken = Math.min(Math.max(1, Math.round(Number(count.value) || 1)), this.data.pool.length - 1);
          this.choose(without(harm.slice(0, taken)), `without the ${taken} most harmful`);
        } }, "without the most harmful"), count),
      );
    }
    for (const subset of this.data.subsets) {
      add(subset.name, () => {
        const found = new Uint8Array(this.data.pool.length);
        for (const row of subset.rows) found[row] = 1;
        return found;
      });
    }
    add("what is on becomes off", () => this.on.map((one) => 1 - one));
  }

  buildTests() {
    const select = byId("add-test");
    this.data.tests.forEach((test, place) => select.append(element("option", { value: place }, `${test.id}: ${test.short}`)));
    select.addEventListener("change", () => {
      if (select.value === "") return;
      this.showTest(Number(select.value));
      select.value = "";
    });
  }

  showTest(place) {
    if (!this.shown.includes(place)) this.shown.push(place);
    if (this.shown.length > MOST_CHARTS) this.shown.shift();
    this.changed();
  }

  // What of the list is shown, in which order.
  async filter() {
    const turn = (this.filtering = (this.filtering || 0) + 1);
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = byId("filter-state").value;
    const [name, chosen] = byId("filter-group").value.split("\u0000");
    const group = this.data.groups[name];
    const influence = this.data.influence ? this.data.influence.mean : null;
    const matching = words.length ? await this.page.source.search(words) : null;
    if (turn !== this.filtering) return;
    const rows = [];
    for (let row = 0; row < this.data.pool.length; row++) {
      if (state === "on" && !this.on[row]) continue;
      if (state === "off" && this.on[row]) continue;
      if (group && group.of[row] !== Number(chosen)) continue;
      if (matching && !matching[row]) continue;
      rows.push(row);
    }
    if (influence && this.sort === "harmful") rows.sort((a, b) => influence[a] - influence[b]);
    if (influence && this.sort === "helpful") rows.sort((a, b) => influence[b] - influence[a]);
    byId("found").textContent = `${rows.length} of ${this.data.pool.length} shown`;
    this.list.set(rows);
  }

  row(row) {
    const example = this.page.source.row(row);
    const box = element("input", { type: "checkbox", id: `row-${row}`, "data-row": row });
    box.checked = this.on[row] === 1;
    box.addEventListener("change", () => {
      this.on[row] = box.checked ? 1 : 0;
      this.changed();
    });
    const influence = this.data.influence ? this.data.influence.mean[row] : null;
    const verdict = this.data.influence && this.data.influence.verdict ? this.data.influence.verdict[row] : Math.sign(influence);
    const kind = { 1: "helps", "-1": "harms" }[verdict] || "open";
    return element(
      "div",
      { class: `example ${this.on[row] ? "" : "off"}` },
      element("label", { for: `row-${row}`, title: example.id }, box, element("span", { class: "short" }, example.short || example.id)),
      influence === null ? null : element("span", { class: `effect ${kind}`, title: { helps: "does more for the mean than the average row", harms: "does less for the mean than the average row", open: "can't tell from the average row" }[kind] }, signed(influence, 2)),
      element("button", { type: "button", class: "more", "aria-label": `text of ${example.id}`, onclick: () => this.page.showExample(row) }, "…"),
    );
  }

  setGroup(name, number, value) {
    const group = this.data.groups[name];
    group.of.forEach((one, row) => {
      if (one === number) this.on[row] = value ? 1 : 0;
    });
    this.changed();
    this.list.refresh();
  }

  choose(on, name) {
    this.on = Uint8Array.from(on);
    this.changed();
    this.filter();
    tell(`${name}: ${counted(this.on)} examples are on.`);
  }

  // Draws once a frame, however often switches move.
  changed() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.show();
    });
  }

  reference() {
    if (this.against === "pool") return { on: new Uint8Array(this.on.length).fill(1), name: `the whole pool (${this.on.length})` };
    if (this.against === "pinned" && this.pinned) return { on: this.pinned, name: `the held subset (${counted(this.pinned)})` };
    return { on: null, name: "the average recorded run" };
  }

  async show() {
    const { form, data } = this;
    const count = counted(this.on);
    byId("count").textContent = `${count} of ${this.on.length} on`;
    for (const box of document.querySelectorAll("[data-group]")) {
      const group = data.groups[box.dataset.group];
      let [on, all] = [0, 0];
      group.of.forEach((one, row) => {
        if (one !== Number(box.dataset.number)) return;
        all += 1;
        on += this.on[row];
      });
      box.checked = on === all;
      box.indeterminate = on > 0 && on < all;
    }
    for (const box of byId("examples").querySelectorAll("input[data-row]")) {
      box.checked = this.on[Number(box.dataset.row)] === 1;
      box.closest(".example").classList.toggle("off", !box.checked);
    }
    this.page.remember();
    const line = byId("headline");
    if (!form) return;
    const reference = this.reference();
    const turn = (this.asking = (this.asking || 0) + 1);
    // A later question is on its way where this one was given up.
    const answer = await Promise.resolve(count ? this.page.source.answer(this.on, reference.on) : null).catch(() => undefined);
    if (turn !== this.asking || answer === undefined) return;
    if (!answer) {
      line.textContent = "Nothing is on: switch on at least one example.";
      return;
    }
    const { found, spread } = answer;
    this.found = found;
    const steps = form.steps;
    const last = steps.length - 1;
    const end = found.mean[last];
    const than = reference.on === null ? data.average.mean[last] : answer.than;
    const change = end - than;
    const better = change === 0 ? "no change" : change > 0 === data.metric.higher ? "better" : "worse";
    const half = spread === null || !form.reach ? null : form.reach * spread;
    const between = half === null ? "" : ` [${signed(change - half)}, ${signed(change + half)}]`;
    const open = half !== null && change !== 0 && Math.abs(change) <= half;
    line.replaceChildren(
      `Mean ${data.metric.name} at step ${steps[last]}: `,
      element("strong", {}, number(end)),
      `, ${signed(change)}${between} from ${reference.name} (${open ? "can't tell: the interval holds 0" : better}).`,
    );
    this.showNovelty(found);
    const predicted = (values) => ({ ...PREDICTED, values, colour: colour("predicted") });
    const average = (values) => ({ ...AVERAGE, values, colour: colour("average") });
    const around = found.meanSpread && form.reach ? [found.mean.map((one, row) => one - form.reach * found.meanSpread[row]), found.mean.map((one, row) => one + form.reach * found.meanSpread[row])] : null;
    this.mean.draw(steps, [average(data.average.mean), predicted(found.mean)], around, `mean ${data.metric.name}: ${number(found.mean[0])} at step ${steps[0]}, ${number(end)} at step ${steps[last]}; average run ${number(data.average.mean[last])}`);
    this.showCharts(found, predicted, average);
    this.showMoved(found);
  }

  showNovelty(found) {
    const place = byId("novelty");
    place.hidden = found.novelty === null;
    if (found.novelty === null) return;
    byId("novelty-bar").value = found.novelty;
    const rests = found.novelty > 0.8 ? ", and the prediction rests on the average run and on what gradients say" : "";
    const other = found.apart > 0 ? " It sees another number of examples than recorded runs did; intervals are wider for that." : "";
    byId("novelty-text").textContent = `${percent(found.novelty)} of what these examples may do is left open by the recorded runs${rests}.${other}`;
  }

  showCharts(found, predicted, average) {
    const place = byId("test-charts");
    const { form, data } = this;
    if (this.charts.map((one) => one.test).join() !== this.shown.join()) {
      place.replaceChildren();
      this.charts = this.shown.map((test) => {
        const figure = element("figure", { class: "small" });
        const close = element("button", { type: "button", class: "close", "aria-label": `remove ${data.tests[test].id}`, onclick: () => {
          this.shown = this.shown.filter((one) => one !== test);
          this.changed();
        } }, "×");
        const holder = element("div", { class: "holder" }, figure, close);
        place.append(holder);
        const chart = new Trajectory(figure, `${data.tests[test].id}: ${data.tests[test].short}`, 170);
        return { test, chart };
      });
    }
    const steps = form.steps;
    const column = (values, test) => Array.from(steps, (_, row) => values[row * form.tests + test]);
    for (const { test, chart } of this.charts) {
      const values = column(found.values, test);
      const band = form.reach && form.bounds !== false ? [column(found.low, test), column(found.high, test)] : null;
      chart.draw(steps, [average(column(data.average.values, test)), predicted(values)], band, `${data.tests[test].id}: ${number(values[values.length - 1])} at the last step`);
    }
  }

  // The test examples that move most from the average run.
  showMoved(found) {
    const { form, data } = this;
    const last = (form.steps.length - 1) * form.tests;
    const sign = data.metric.higher ? 1 : -1;
    const gains = data.tests.map((_, test) => sign * (found.values[last + test] - data.average.values[last + test]));
    const order = gains.map((_, test) => test).sort((a, b) => gains[b] - gains[a]);
    const table = byId("moved").closest("table");
    const rows = (places) =>
      places.map((test) =>
        tableRow(table, [
          element("button", { type: "button", class: "link", onclick: () => this.showTest(test) }, data.tests[test].short || data.tests[test].id),
          number(found.values[last + test]),
          form.reach && form.bounds !== false ? `${number(found.low[last + test], 3)} to ${number(found.high[last + test], 3)}` : "–",
          signed(sign * gains[test]),
        ]),
      );
    const heading = (text) => element("tr", { role: "row" }, element("th", { role: "rowheader", colspan: 4, scope: "rowgroup" }, text));
    byId("moved").replaceChildren(
      heading("helped most"),
      ...rows(order.filter((test) => gains[test] > 0).slice(0, 4)),
      heading("hurt most"),
      ...rows(order.filter((test) => gains[test] < 0).reverse().slice(0, 4)),
    );
  }

  async take(use) {
    use(await this.page.source.ids(this.on));
  }
}

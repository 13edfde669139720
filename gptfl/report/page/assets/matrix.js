// Who moves whom: training examples against test examples, as coloured cells to zoom into.

class Matrix {
  constructor(page) {
    const matrix = page.data.matrix;
    Object.assign(this, { page, data: page.data, mean: null, spread: null, most: 1 });
    this.rows = matrix.rows;
    this.columns = matrix.columns;
    this.view = { left: 0, top: 0, width: this.columns.length, height: this.rows.length };
    this.cell = [0, 0];
    this.canvas = byId("matrix-canvas");
    this.listen();
    page.source.effects((mean, spread) => this.take(mean, spread));
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
  }

  // Once all effects are there, for drawing each block would take longer than fetching it.
  take(mean, spread) {
    Object.assign(this, { mean, spread });
    const values = Array.from(mean, Math.abs).sort((a, b) => a - b);
    this.most = values[Math.floor(0.98 * (values.length - 1))] || values[values.length - 1] || 1;
    byId("matrix-scale").textContent = `from −${number(this.most, 2)} (harms, orange) to +${number(this.most, 2)} (helps, blue)`;
    this.pairs();
    this.draw();
  }

  value(row, column) {
    return this.mean[row * this.columns.length + this.columns[column]];
  }

  sure(row, column) {
    if (!this.spread) return null;
    return 1.6449 * this.spread[row * this.columns.length + this.columns[column]];
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("click", (event) => this.select(...this.at(event)));
    canvas.addEventListener("mousemove", (event) => this.hover(...this.at(event)));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const [row, column] = this.at(event);
        this.zoom(event.deltaY < 0 ? 0.8 : 1.25, row, column);
      },
      { passive: false },
    );
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (steps[event.key]) {
        const [down, right] = steps[event.key];
        const row = Math.min(Math.max(this.cell[0] + down, 0), this.rows.length - 1);
        const column = Math.min(Math.max(this.cell[1] + right, 0), this.columns.length - 1);
        this.select(row, column);
        this.follow();
      } else if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 0.7 : 1 / 0.7, ...this.cell);
      else if (event.key === "0") this.zoom(Infinity, ...this.cell);
      else return;
      event.preventDefault();
    });
    byId("zoom-in").addEventListener("click", () => this.zoom(0.7, ...this.cell));
    byId("zoom-out").addEventListener("click", () => this.zoom(1 / 0.7, ...this.cell));
    byId("zoom-all").addEventListener("click", () => this.zoom(Infinity, ...this.cell));
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { left, top, width, height } = this.view;
    const column = Math.floor(left + ((event.clientX - box.left) / box.width) * width);
    const row = Math.floor(top + ((event.clientY - box.top) / box.height) * height);
    return [Math.min(Math.max(row, 0), this.rows.length - 1), Math.min(Math.max(column, 0), this.columns.length - 1)];
  }

  zoom(factor, row, column) {
    const { view } = this;
    const size = (now, all) => Math.min(all, Math.max(4, factor === Infinity ? all : now * factor));
    const width = size(view.width, this.columns.length);
    const height = size(view.height, this.rows.length);
    const place = (at, was, start, now, all) => Math.min(Math.max(at - ((at - start) / was) * now, 0), all - now);
    view.left = place(column, view.width, view.left, width, this.columns.length);
    view.top = place(row, view.height, view.top, height, this.rows.length);
    Object.assign(view, { width, height });
    this.draw();
  }

  follow() {
    const { view } = this;
    view.top = Math.min(Math.max(view.top, this.cell[0] + 1 - view.height), this.cell[0]);
    view.left = Math.min(Math.max(view.left, this.cell[1] + 1 - view.width), this.cell[1]);
    this.draw();
  }

  draw() {
    const box = this.canvas.parentElement.clientWidth;
    if (!box || !this.mean) return;
    const ratio = window.devicePixelRatio || 1;
    const tall = Math.min(560, Math.max(200, this.rows.length * 6));
    Object.assign(this.canvas, { width: Math.round(box * ratio), height: Math.round(tall * ratio) });
    this.canvas.style.height = `${tall}px`;
    const context = this.canvas.getContext("2d");
    const { left, top, width, height } = this.view;
    const [cellWide, cellTall] = [this.canvas.width / width, this.canvas.height / height];
    const ends = { helps: rgb(colour("helps")), harms: rgb(colour("harms")), none: rgb(colour("ground")) };
    for (let row = Math.floor(top); row < Math.min(this.rows.length, Math.ceil(top + height)); row++) {
      for (let column = Math.floor(left); column < Math.min(this.columns.length, Math.ceil(left + width)); column++) {
        context.fillStyle = mixed(this.value(row, column) / this.most, ends);
        const [x, y] = [(column - left) * cellWide, (row - top) * cellTall];
        context.fillRect(Math.floor(x), Math.floor(y), Math.ceil(cellWide), Math.ceil(cellTall));
      }
    }
    context.strokeStyle = colour("ink");
    context.lineWidth = 2 * ratio;
    context.strokeRect((this.cell[1] - left) * cellWide, (this.cell[0] - top) * cellTall, cellWide, cellTall);
  }

  describe(row, column) {
    const [train, test] = [this.page.source.row(this.rows[row]), this.data.tests[this.columns[column]]];
    const value = this.value(row, column);
    const half = this.sure(row, column);
    const between = half === null ? "" : ` [${signed(value - half, 2)}, ${signed(value + half, 2)}]`;
    return `${train.id} → ${test.id}: ${signed(value)}${between}`;
  }

  hover(row, column) {
    if (!this.mean) return;
    byId("matrix-hover").textContent = this.describe(row, column);
  }

  async select(row, column) {
    if (!this.mean) return;
    this.cell = [row, column];
    this.draw();
    const near = this.data.duplicates.filter((pair) => pair.includes(this.rows[row])).map(([a, b]) => (a === this.rows[row] ? b : a));
    const [train, ...others] = await this.page.source.whole([this.rows[row], ...near]);
    if (this.cell[0] !== row || this.cell[1] !== column) return;
    const test = this.data.tests[this.columns[column]];
    const value = this.value(row, column);
    const half = this.sure(row, column);
    const verdict = half !== null && Math.abs(value) <= half ? "can't tell which way" : value > 0 ? "helps" : "harms";
    byId("matrix-said").textContent = this.describe(row, column);
    const parts = [
      element("p", {}, element("strong", {}, this.describe(row, column)), ` (${verdict})`),
      near.length ? element("p", { class: "note" }, `Near-duplicates of the training example: ${others.map((one) => one.id).join(", ")}.`) : null,
      element(
        "div",
        { class: "two" },
        element("section", {}, element("h4", {}, `training example ${train.id}`), exampleText(train)),
        element("section", {}, element("h4", {}, `test example ${test.id}`), exampleText(test)),
      ),
    ];
    byId("pair").replaceChildren(...parts.filter(Boolean));
  }

  // The pairs that are helped and harmed most, for those who don't see the cells.
  async pairs() {
    const cells = [];
    for (let row = 0; row < this.rows.length; row++) for (let column = 0; column < this.columns.length; column++) cells.push([row, column, this.value(row, column)]);
    cells.sort((a, b) => b[2] - a[2]);
    await this.page.source.whole([...new Set([...cells.slice(0, 8), ...cells.slice(-8)].map(([row]) => this.rows[row]))]);
    const table = byId("pairs-helpful").closest("table");
    const lines = (some) =>
      some.map(([row, column, value]) =>
        tableRow(
          table,
          [
            element("button", { type: "button", class: "link", onclick: () => this.select(row, column) }, this.data.pool[this.rows[row]].short || this.data.pool[this.rows[row]].id),
            this.data.tests[this.columns[column]].short || this.data.tests[this.columns[column]].id,
            signed(value),
            this.spread ? `± ${number(this.sure(row, column), 2)}` : "–",
          ],
          2,
        ),
      );
    byId("pairs-helpful").replaceChildren(...lines(cells.slice(0, 8)));
    byId("pairs-harmful").replaceChildren(...lines(cells.slice(-8).reverse()));
  }
}

function rgb(text) {
  const found = text.match(/[0-9a-f]{2}/gi);
  return found.slice(0, 3).map((part) => parseInt(part, 16));
}

function mixed(share, ends) {
  const much = Math.min(1, Math.abs(share)) ** 0.7;
  const end = share > 0 ? ends.helps : ends.harms;
  return `rgb(${ends.none.map((one, place) => Math.round(one + much * (end[place] - one))).join(",")})`;
}

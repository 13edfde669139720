// Small helpers: elements, numbers, messages. Texts of the recording only ever become text nodes.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(made.style, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
  return made;
}

// A row of a table that shows rows as blocks in a narrow window, every content under its column's name, the first `words` in full
// width. The roles hold there, too.
function tableRow(table, contents, words = 1) {
  const names = [...table.tHead.rows[0].cells].map((one) => one.textContent);
  const cells = contents.map((content, place) =>
    element("td", { role: "cell", "data-name": names[place], class: place < words ? "words" : "figure" }, content),
  );
  return element("tr", { role: "row" }, ...cells);
}

function byId(id) {
  return document.getElementById(id);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Four significant digits, as the command line has them.
function number(value, digits = 4) {
  if (value === null || !Number.isFinite(value)) return "–";
  const text = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-4) ? value.toExponential(digits - 1) : value.toPrecision(digits);
  return text.replace(/(\.\d*?)0+($|e)/, "$1$2").replace(/\.($|e)/, "$1").replace("-", "−");
}

function signed(value, digits = 3) {
  const text = number(value, digits);
  return value > 0 ? `+${text}` : text;
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

let messageTimer = null;

// Tells what was done, to readers of the screen as well.
function tell(text) {
  const place = byId("message");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => place.classList.remove("shown"), 4000);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages opened from disk may not have the clipboard.
    const area = element("textarea", { "aria-hidden": "true", class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  tell(`Copied ${what}.`);
}

function download(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  tell(`Saved ${name}.`);
}

// An example's whole text, turn by turn.
function exampleText(example) {
  if (example.turns) {
    return element(
      "div",
      { class: "text" },
      example.turns.map((turn) =>
        element("p", { class: turn.target ? "target" : null }, element("b", {}, `${turn.role}: `), turn.content),
      ),
    );
  }
  if (!example.prompt && !example.target) return element("p", { class: "quiet" }, "The recording keeps no texts.");
  return element(
    "div",
    { class: "text" },
    element("p", {}, example.prompt, element("mark", {}, example.target)),
  );
}

// An element that shows only the rows in sight of a long list, each as `height` pixels; `draw(place)` makes a row.
class LongList {
  constructor(place, height, draw) {
    Object.assign(this, { place, height, draw, rows: [], first: -1, last: -1 });
    this.inner = element("div", { class: "long-inner" });
    place.append(this.inner);
    place.addEventListener("scroll", () => this.show(), { passive: true });
    new ResizeObserver(() => this.show()).observe(place);
  }

  set(rows) {
    this.rows = rows;
    this.inner.style.height = `${rows.length * this.height}px`;
    this.refresh();
  }

  refresh() {
    this.first = this.last = -1;
    this.show();
  }

  show() {
    const first = Math.max(0, Math.floor(this.place.scrollTop / this.height) - 4);
    const last = Math.min(this.rows.length, Math.ceil((this.place.scrollTop + this.place.clientHeight) / this.height) + 4);
    if (first === this.first && last === this.last) return;
    const focused = document.activeElement && this.inner.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    Object.assign(this, { first, last });
    this.inner.replaceChildren(
      ...this.rows.slice(first, last).map((row, offset) => {
        const made = this.draw(row);
        made.style.top = `${(first + offset) * this.height}px`;
        return made;
      }),
    );
    if (focused !== null) {
      const again = this.inner.querySelector(`[data-row="${focused}"]`);
      if (again) again.focus({ preventScroll: true });
    }
  }
}

// Where the page has its rows, texts, effects and answers from: itself, or the gptfl serve that it came from.

// Everything is in the page.
class EmbeddedSource {
  constructor(data) {
    Object.assign(this, { data, form: formOf(data.form) });
    this.searchable = null;
  }

  start() {}

  row(row) {
    return this.data.pool[row];
  }

  whole(rows) {
    return rows.map((row) => this.data.pool[row]);
  }

  ids(on) {
    return `${this.data.pool.filter((_, row) => on[row]).map((example) => example.written).join("\n")}\n`;
  }

  // For each row, whether all words are in it.
  search(words) {
    this.searchable ??= this.data.pool.map((example) =>
      [example.id, ...(example.turns ? example.turns.map((turn) => turn.content) : [example.prompt, example.target])].join(" ").toLowerCase(),
    );
    return this.searchable.map((text) => words.every((word) => text.includes(word)));
  }

  // What training on a subset gives, and the same of what it is held against (null is the average recorded run).
  answer(on, other) {
    const found = this.form.predict(on);
    if (!found) return null;
    const last = this.form.steps.length - 1;
    const than = other === null ? null : this.form.predict(other).mean[last];
    return { found, than, spread: this.form.differenceSpread(on, other) };
  }

  effects(use) {
    const { mean, spread } = this.data.matrix;
    use(unpacked(mean).values, spread ? unpacked(spread).values : null);
  }
}

const ROWS_AT_ONCE = 200;
const BLOCK = 256;

// Asks the server, for a page of rows, a text, a block of effects or an answer at a time.
class RemoteSource {
  constructor(data) {
    const { count } = data.pool;
    Object.assign(this, { data, form: data.form, asked: new Set(), changed: () => {}, answering: null });
    data.pool = new Array(count);
  }

  async ask(path, body = undefined, signal = undefined) {
    const options = body === undefined ? { signal } : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal };
    let answer;
    try {
      answer = await fetch(path, { ...options, credentials: "omit", redirect: "error", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      tell("gptfl serve doesn't answer: is it still running?");
      throw error;
    }
    const found = await answer.json();
    if (!answer.ok) {
      tell(found.error || `The server refused: ${answer.status}.`);
      throw new Error(found.error || String(answer.status));
    }
    return found;
  }

  // The rows that stand in the page from the beginning.
  async start() {
    await this.whole(this.data.suspects.map((one) => one.row));
  }

  // A row as far as it is known; its page of rows is fetched where it isn't.
  row(row) {
    const known = this.data.pool[row];
    if (known) return known;
    this.load(Math.floor(row / ROWS_AT_ONCE));
    return { id: `row ${row + 1}`, short: "…", written: "" };
  }

  async load(page) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const start = page * ROWS_AT_ONCE;
    try {
      const { rows } = await this.ask(`rows?from=${start}&count=${ROWS_AT_ONCE}`);
      rows.forEach((example, place) => (this.data.pool[start + place] ??= example));
      this.changed();
    } catch {
      this.asked.delete(page);
    }
  }

  async whole(rows) {
    const lacking = rows.filter((row) => !this.data.pool[row] || (this.data.pool[row].prompt === undefined && !this.data.pool[row].turns));
    for (let at = 0; at < lacking.length; at += 20) {
      const some = lacking.slice(at, at + 20);
      const { rows: found } = await this.ask(`texts?rows=${some.join(",")}`);
      found.forEach((example, place) => (this.data.pool[some[place]] = example));
    }
    return rows.map((row) => this.data.pool[row]);
  }

  async ids(on) {
    return (await this.ask("ids", { on: bitsOf(on) })).text;
  }

  async search(words) {
    return fromBits((await this.ask(`search?q=${encodeURIComponent(words.join(" "))}`)).rows, this.data.pool.length);
  }

  // One question at a time: a later one takes the place of one that wasn't answered yet.
  async answer(on, other) {
    if (this.answering) this.answering.abort();
    this.answering = new AbortController();
    const found = await this.ask("what-if", { on: bitsOf(on), against: other === null ? null : bitsOf(other) }, this.answering.signal);
    if (found.count === 0) return null;
    for (const name of ["values", "low", "high", "mean"]) found[name] = found[name] ? unpacked(found[name]).values : found.values;
    found.meanSpread = found.meanSpread ? unpacked(found.meanSpread).values : null;
    return { found, than: found.than, spread: found.spread };
  }

  async effects(use) {
    const { rows, has_spread } = this.data.matrix;
    const width = this.data.tests.length;
    const mean = new Float32Array(rows.length * width);
    const spread = has_spread ? new Float32Array(rows.length * width) : null;
    for (let at = 0; at < rows.length; at += BLOCK) {
      const block = await this.ask(`matrix?from=${at}&count=${BLOCK}`);
      mean.set(unpacked(block.mean).values, at * width);
      if (spread) spread.set(unpacked(block.spread).values, at * width);
      byId("matrix-hover").textContent = `${Math.min(at + BLOCK, rows.length)} of ${rows.length} rows are here`;
    }
    use(mean, spread);
  }
}

// A bit a row, the first in the lowest bit of the first byte.
function bitsOf(on) {
  const bytes = new Uint8Array(Math.ceil(on.length / 8));
  on.forEach((one, row) => {
    if (one) bytes[row >> 3] |= 1 << (row & 7);
  });
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function fromBits(text, count) {
  const bytes = atob(text);
  return Array.from({ length: count }, (_, row) => ((bytes.charCodeAt(row >> 3) || 0) >> (row & 7)) & 1);
}

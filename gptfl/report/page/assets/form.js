// What training on a subset would give, from the arrays of a fitted simulator (gptfl/core/linear_form.py says what they
// are). A subset is a Uint8Array with 1 for each example that is trained on.

function unpacked(one) {
  const text = atob(one.data);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  if (one.type === "triangles") return { values: squares(new Int16Array(bytes.buffer), one), shape: one.shape };
  const values = one.type === "i4" ? new Int32Array(bytes.buffer) : new Float32Array(bytes.buffer);
  return { values, shape: one.shape };
}

// Symmetric matrices from what is on and below their diagonals.
function squares(whole, { shape: [count, size], most }) {
  const values = new Float32Array(count * size * size);
  let at = 0;
  for (let matrix = 0; matrix < count; matrix++) {
    const [begin, unit] = [matrix * size * size, most[matrix] / 32767];
    for (let row = 0; row < size; row++) {
      for (let column = 0; column <= row; column++) {
        values[begin + row * size + column] = values[begin + column * size + row] = whole[at++] * unit;
      }
    }
  }
  return values;
}

function counted(on) {
  let count = 0;
  for (let row = 0; row < on.length; row++) count += on[row];
  return count;
}

// The metric of a value on the scale on which effects add up.
function backFrom(link, value) {
  if (link.name === "log") return Math.exp(Math.min(value, 500));
  if (link.name === "odds") return value > 30 ? value : Math.log1p(Math.exp(value));
  if (link.name === "logit") return link.low + (link.high - link.low) / (1 + Math.exp(-value));
  return Math.min(Math.max(value, link.low), link.high);
}

class LinearForm {
  constructor(kept) {
    for (const [name, one] of Object.entries(kept.arrays)) this[name] = unpacked(one);
    Object.assign(this, kept.numbers);
    this.steps = this.steps_at.values;
    this.tests = this.first.values.length;
    this.pool = this.weights.values.length;
    this.kind = "linear";
  }

  // The mean of the subset's rows of an array [pool, width], each example counted once; divided by its weight.
  meanRow(array, on, weight) {
    const width = array.shape[1];
    const found = new Float64Array(width);
    for (let row = 0; row < this.pool; row++) {
      if (!on[row]) continue;
      for (let at = row * width, place = 0; place < width; place++) found[place] += array.values[at + place];
    }
    for (let place = 0; place < width; place++) found[place] /= weight;
    return found;
  }

  weightOf(on) {
    let weight = 0;
    for (let row = 0; row < this.pool; row++) if (on[row]) weight += this.weights.values[row];
    return weight;
  }

  // How far a subset of so many examples lies outside of how many recorded runs saw, at each recorded step.
  apart(count) {
    const exposures = new Float64Array(count);
    const found = new Float64Array(this.steps.length);
    const rates = this.learning_rates.values;
    const size = this.batch_size;
    let begin = 0;
    let sum = 0;
    for (let row = 0; row < this.steps.length; row++) {
      const end = Math.min(this.steps[row], rates.length);
      for (let step = begin; step < end; step++) {
        for (let place = step * size; place < (step + 1) * size; place++) exposures[place % count] += rates[step] / size;
        sum += rates[step];
      }
      begin = Math.max(begin, this.steps[row]);
      let squares = 0;
      for (let place = 0; place < count; place++) squares += exposures[place] ** 2;
      const own = squares > 0 ? Math.log(sum ** 2 / squares) : 0;
      const least = Math.log(this.breadth_least.values[row]);
      const most = Math.log(this.breadth_most.values[row]);
      const away = Math.max(least - own, own - most, 0);
      found[row] = away > this.breadth_rounding ? away : 0;
    }
    return found;
  }

  // The variance left of what moves a run from one state to another, and before anything was recorded, at one step.
  // `place` and `state` are differences of means of rows, `own` is the sum of squared shares times own effects.
  varianceAt(row, place, state, own) {
    const inner = this.quadratic.shape[1];
    let distance = own;
    for (let one = 0; one < inner; one++) {
      let product = 0;
      const at = (row * inner + one) * inner;
      for (let other = 0; other < inner; other++) product += this.quadratic.values[at + other] * place[other];
      distance += place[one] * product;
    }
    distance = Math.max(distance, 0);
    const [, count, width] = this.rows.shape;
    const squares = new Float64Array(count);
    for (let line = 0; line < count; line++) {
      let sum = 0;
      const at = (row * count + line) * width;
      for (let one = 0; one < width; one++) sum += this.rows.values[at + one] * state[one];
      squares[line] = sum * sum;
    }
    const columns = this.tests + 1;
    const left = new Float64Array(columns);
    const before = new Float64Array(columns);
    for (let column = 0; column < columns; column++) {
      before[column] = this.spread.values[row * columns + column] * distance;
      let known = 0;
      for (let line = 0; line < count; line++) known += squares[line] * this.known.values[(row * count + line) * columns + column];
      left[column] = Math.max(before[column] - known, 0);
    }
    return [left, before];
  }

  // Trajectories [step][test] of a subset with 90 % intervals, of the mean, and the novelty.
  predict(on) {
    const count = counted(on);
    if (!count) return null;
    const weight = this.weightOf(on);
    const state = this.meanRow(this.factors, on, weight);
    const place = this.meanRow(this.square_factors, on, weight);
    const own = this.meanRow(this.squares, on, weight * weight);
    const apart = this.apart(count);
    const steps = this.steps.length;
    const tests = this.tests;
    const width = this.slope.shape[2];
    const values = new Float64Array(steps * tests);
    const low = new Float64Array(steps * tests);
    const high = new Float64Array(steps * tests);
    const mean = new Float64Array(steps);
    const meanSpread = new Float64Array(steps);
    let novelty = 0;
    const reach = this.reach || 0;
    for (let row = 0; row < steps; row++) {
      const [left, before] = this.varianceAt(row, place, state, own[row]);
      let [open, prior] = [0, 0];
      for (let column = 0; column <= tests; column++) {
        const beside = (this.breadth_share * apart[row] * this.lately.values[row * (tests + 1) + column]) ** 2;
        const noise = this.noise.values[row * (tests + 1) + column];
        const spread = Math.sqrt((left[column] + noise) * this.interval_scale ** 2 + beside);
        if (column === tests) {
          meanSpread[row] = spread;
          continue;
        }
        open += left[column] + beside;
        prior += before[column] + beside;
        const cell = row * tests + column;
        let even = this.base.values[cell];
        const at = cell * width;
        for (let one = 0; one < width; one++) even += this.slope.values[at + one] * state[one];
        const value = this.trials
          ? (this.trials * Math.min(Math.max(even, 0), 1) + 0.5) / (this.trials + 1)
          : backFrom(this.link, even);
        values[cell] = row ? value : this.first.values[column];
        if (!row || !reach) {
          low[cell] = high[cell] = values[cell];
          continue;
        }
        low[cell] = backFrom(this.link, even - reach * spread);
        high[cell] = backFrom(this.link, even + reach * spread);
        const [least, most] = [this.extremes.values[column], this.extremes.values[tests + column]];
        if (value > most) low[cell] = Math.min(low[cell], most);
        if (value < least) high[cell] = Math.max(high[cell], least);
      }
      let sum = 0;
      for (let column = 0; column < tests; column++) sum += values[row * tests + column];
      mean[row] = sum / tests;
      if (!row) meanSpread[row] = 0;
      novelty = prior > 0 ? Math.min(Math.max(open / prior, 0), 1) : 0;
    }
    return { values, low, high, mean, meanSpread, novelty, count, apart: apart[steps - 1] };
  }

  // The standard deviation of the difference that two subsets make to the mean at the last step. With null for `other`
  // it is from the average recorded run.
  differenceSpread(on, other) {
    const last = this.steps.length - 1;
    const share = (subset) => (subset === null ? 0 : 1 / this.weightOf(subset));
    const [ours, theirs] = [share(on), share(other)];
    const difference = (array) => {
      const one = this.meanRow(array, on, 1 / ours);
      if (other === null) return one;
      const two = this.meanRow(array, other, 1 / theirs);
      return one.map((value, place) => value - two[place]);
    };
    const width = this.squares.shape[1];
    let own = 0;
    for (let row = 0; row < this.pool; row++) {
      const apart = (on[row] ? ours : 0) - (other !== null && other[row] ? theirs : 0);
      own += apart * apart * this.squares.values[row * width + last];
    }
    const [left] = this.varianceAt(last, difference(this.square_factors), difference(this.factors), own);
    const outside = (subset) => (subset === null ? 0 : this.apart(counted(subset))[last]);
    const beside = this.breadth_share * Math.abs(outside(on) - outside(other)) * this.lately.values[last * (this.tests + 1) + this.tests];
    return Math.sqrt(left[this.tests] * this.interval_scale ** 2 + beside ** 2);
  }
}

// Effects of leaving out one example each, added up: for simulators of which no more is known in a page.
class SummedForm {
  constructor(kept) {
    for (const [name, one] of Object.entries(kept.arrays)) this[name] = unpacked(one);
    Object.assign(this, kept.numbers);
    this.steps = this.steps_at.values;
    this.tests = this.whole.shape[1];
    this.pool = this.factors.shape[0];
    this.reach = 0;
    this.kind = "summed";
  }

  predict(on) {
    const count = counted(on);
    if (!count) return null;
    const rank = this.factors.shape[1];
    const state = new Float64Array(rank);
    for (let row = 0; row < this.pool; row++) {
      if (on[row]) continue;
      for (let one = 0; one < rank; one++) state[one] += this.factors.values[row * rank + one];
    }
    const steps = this.steps.length;
    const values = new Float64Array(steps * this.tests);
    const mean = new Float64Array(steps);
    for (let row = 0; row < steps; row++) {
      for (let column = 0; column < this.tests; column++) {
        const cell = row * this.tests + column;
        let value = this.whole.values[cell];
        for (let one = 0; one < rank; one++) value += this.effects.values[cell * rank + one] * state[one];
        values[cell] = Math.min(Math.max(value, this.low), this.high);
        mean[row] += values[cell] / this.tests;
      }
    }
    return { values, low: values, high: values, mean, meanSpread: null, novelty: null, count, apart: 0 };
  }

  differenceSpread() {
    return null;
  }
}

function formOf(kept) {
  if (!kept) return null;
  return kept.kind === "linear" ? new LinearForm(kept) : new SummedForm(kept);
}

// How far to trust it: held-out runs to page through; the tables stand in the page as they are.

class Trust {
  constructor(page) {
    const held = page.data.held_out;
    Object.assign(this, { page, data: page.data, held, run: 0, test: 0 });
    const runs = byId("held-run");
    held.runs.forEach((name, place) => runs.append(element("option", { value: place }, name)));
    const tests = byId("held-test");
    tests.append(element("option", { value: -1 }, "mean of the test examples"));
    page.data.tests.forEach((test, place) => tests.append(element("option", { value: place }, test.short ? `${test.id}: ${test.short}` : test.id)));
    this.values = ["predicted", "recorded", "low", "high"].map((name) => (held[name] ? unpacked(held[name]) : null));
    this.chart = new Trajectory(byId("held-chart"), "", 240);
    byId("held-legend").append(
      legend([[held.title, "predicted"], ...(this.values[1] ? [["recorded", "recorded"]] : []), [held.against, "average"], ...(this.values[2] ? [["90 % interval", "band"]] : [])]),
    );
    for (const select of [runs, tests]) select.addEventListener("change", () => this.show());
    byId("held-next").addEventListener("click", () => this.turn(1));
    byId("held-back").addEventListener("click", () => this.turn(-1));
    this.show();
  }

  turn(by) {
    const tests = byId("held-test");
    const count = this.data.tests.length + 1;
    tests.selectedIndex = (tests.selectedIndex + by + count) % count;
    this.show();
  }

  show() {
    const [run, test] = [Number(byId("held-run").value), Number(byId("held-test").value)];
    const steps = this.held.steps;
    const count = this.data.tests.length;
    const of = (array) =>
      steps.map((_, row) => {
        const at = (run * steps.length + row) * count;
        if (test >= 0) return array.values[at + test];
        let sum = 0;
        for (let column = 0; column < count; column++) sum += array.values[at + column];
        return sum / count;
      });
    const [predicted, recorded, low, high] = this.values;
    const average = steps.map((_, row) => (test >= 0 ? this.held.average[row][test] : meanKnown(this.held.average[row])));
    const lines = [
      { ...AVERAGE, values: average, colour: colour("average") },
      ...(recorded ? [{ ...RECORDED, values: of(recorded), colour: colour("ink") }] : []),
      { ...PREDICTED, values: of(predicted), colour: colour("predicted") },
    ];
    const band = low && test >= 0 ? [of(low), of(high)] : null;
    const name = test >= 0 ? this.data.tests[test].id : "mean of the test examples";
    this.chart.setTitle(`${this.held.runs[run]}, ${name}`);
    const last = steps.length - 1;
    this.chart.draw(steps, lines, band, `${name}: predicted ${number(lines[lines.length - 1].values[last])}${recorded ? `, recorded ${number(lines[1].values[last])}` : ""} at step ${steps[last]}`);
  }
}

// The mean of values that are all known, else nothing.
function meanKnown(values) {
  return values.some((one) => one === null) ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

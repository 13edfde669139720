// Trajectories over training steps: one chart a place, drawn anew when data or colours change.

class Trajectory {
  constructor(place, title, height) {
    Object.assign(this, { place, height, plot: null });
    this.caption = element("figcaption", {}, title);
    this.canvas = element("div", { class: "plot" });
    place.append(this.caption, this.canvas);
    place.setAttribute("role", "img");
    new ResizeObserver(() => this.plot && this.plot.setSize({ width: this.width(), height })).observe(place);
  }

  width() {
    return Math.max(160, this.canvas.clientWidth);
  }

  // `lines` are {label, values, colour, dash}; a band is two arrays or null.
  draw(steps, lines, band, label) {
    // What isn't known is a gap.
    const known = (values) => Array.from(values, (one) => (Number.isFinite(one) ? one : null));
    const data = [Array.from(steps), ...lines.map((line) => known(line.values))];
    if (band) data.push(known(band[0]), known(band[1]));
    const key = JSON.stringify([lines.map((line) => [line.label, line.colour]), !!band, colour("ink")]);
    if (this.plot && this.key === key) {
      this.plot.setData(data);
    } else {
      if (this.plot) this.plot.destroy();
      this.key = key;
      this.plot = new uPlot(this.options(lines, band), data, this.canvas);
    }
    this.place.setAttribute("aria-label", label);
  }

  options(lines, band) {
    const axis = { stroke: colour("ink"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    const series = [{}, ...lines.map((line) => ({ label: line.label, stroke: line.colour, width: 2, dash: line.dash, points: { show: false } }))];
    if (band) {
      const edge = { stroke: "transparent", width: 0, points: { show: false } };
      series.push({ ...edge, label: "low" }, { ...edge, label: "high" });
    }
    return {
      width: this.width(),
      height: this.height,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false } },
      axes: [
        { ...axis, size: 32 },
        { ...axis, size: 54, values: (_, splits) => splits.map((value) => number(value, 3)) },
      ],
      series,
      bands: band ? [{ series: [lines.length + 2, lines.length + 1], fill: colour("band") }] : [],
    };
  }

  setTitle(title) {
    this.caption.textContent = title;
  }
}

const PREDICTED = { label: "predicted", dash: undefined };
const AVERAGE = { label: "average recorded run", dash: [6, 3] };
const RECORDED = { label: "recorded", dash: [2, 3] };

function legend(entries) {
  return element(
    "ul",
    { class: "legend" },
    entries.map(([name, kind]) => element("li", {}, element("span", { class: `key ${kind}`, "aria-hidden": "true" }), name)),
  );
}

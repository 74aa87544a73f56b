// Small charts of readings over time. What lies beyond the limit is shaded, so that a glance tells on which side a value is.

import { clock, number, svg } from "./draw.js";

const LEFT = 62, RIGHT = 12, TOP = 10, BOTTOM = 22, HEIGHT = 150;

/** A gate's candidate (with its interval), baseline and limit over time, as wide as it is told to be. */
export function gateChart(readings, gate, width, now) {
  const series = readings.gates[gate.name];
  const frame = new Frame(readings.at, extent(series), width, HEIGHT);
  const beyond = gate.limit.startsWith("≤") ? frame.up.high : frame.up.low;
  return picture(frame, label(gate, readings.at, now), [
    area(frame, series.limit, series.limit.map((at) => (at === null ? null : beyond)), "beyond"),
    ...frame.axes((value) => number(value, gate.unit, frame.up.high - frame.up.low), now),
    area(frame, series.low, series.high, "band"),
    path(frame, series.limit, "limit"),
    path(frame, series.baseline, "old"),
    path(frame, series.value, "new"),
    newest(frame, series.value),
  ]);
}

/** The candidate's weight over time: what was asked, and what the gateway gives. */
export function weightChart(readings, width, now) {
  const frame = new Frame(readings.at, [0, 100], width, 110);
  const name = `weight of the candidate since ${clock(readings.at[0], now)}, in percent`;
  return picture(frame, name, [
    ...frame.axes((value) => `${value} %`, now, [0, 50, 100]),
    path(frame, readings.asked, "old", true),
    path(frame, readings.observed, "new", true),
  ]);
}

function label(gate, at, now) {
  return `${gate.name} since ${clock(at[0], now)}: candidate ${gate.value}, stable ${gate.baseline}, limit ${gate.limit}`;
}

class Frame {
  constructor(at, [low, high], width, height) {
    this.at = at;
    this.width = width;
    this.height = height;
    this.from = at[0];
    this.span = Math.max(at[at.length - 1] - at[0], 1);
    this.up = { low, high };
  }

  x(index) {
    return LEFT + (this.width - LEFT - RIGHT) * ((this.at[index] - this.from) / this.span);
  }

  y(value) {
    const part = (value - this.up.low) / (this.up.high - this.up.low);
    return TOP + (this.height - TOP - BOTTOM) * (1 - Math.min(Math.max(part, 0), 1));
  }

  axes(format, now, values = ticks(this.up.low, this.up.high)) {
    const rows = values.flatMap((value) => [
      svg("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: this.y(value), y2: this.y(value) }),
      svg("text", { class: "tick", x: LEFT - 8, y: this.y(value) + 4, "text-anchor": "end" }, format(value)),
    ]);
    const brief = this.span < 600;
    const times = [[0, "start"], [this.at.length - 1, "end"]].map(([index, anchor]) =>
      svg("text", { class: "tick", x: index ? this.width - RIGHT : LEFT, y: this.height - 5, "text-anchor": anchor },
        clock(this.at[index], now, brief)));
    return [...rows, ...(this.at.length > 1 ? times : times.slice(0, 1))];
  }
}

/** Lowest and highest of what must be seen. Intervals are cut off: the first ones are wider than anything else. */
function extent(series) {
  const known = [...series.value, ...series.baseline, ...series.limit].filter((value) => value !== null);
  if (known.length === 0) return [0, 1];
  const low = Math.min(...known), high = Math.max(...known);
  const margin = (high - low || Math.abs(high) || 1) * 0.25;
  return [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
}

function ticks(low, high) {
  const rough = (high - low) / 3;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((one) => one >= rough * 0.999);
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high * 1.000001; index += 1) found.push(index * step);
  return found;
}

function picture(frame, name, parts) {
  return svg("svg", { class: "chart", width: frame.width, height: frame.height, role: "img", "aria-label": name,
    viewBox: `0 0 ${frame.width} ${frame.height}` }, parts);
}

/** A line that is broken where nothing is known; in steps where a value holds until the next one. */
function path(frame, values, kind, steps = false) {
  let way = "", before = null;
  values.forEach((value, index) => {
    if (value !== null) {
      const x = frame.x(index).toFixed(1), y = frame.y(value).toFixed(1);
      way += before === null ? `M${x} ${y}h.01` : steps ? `H${x}V${y}` : `L${x} ${y}`;
    }
    before = value;
  });
  return svg("path", { class: `series ${kind}`, d: way });
}

/** What lies between two lines; also broken. */
function area(frame, low, high, kind) {
  let way = "", run = [];
  const close = () => {
    if (run.length > 1) {
      const there = run.map((index) => `${frame.x(index).toFixed(1)} ${frame.y(low[index]).toFixed(1)}`);
      const back = run.toReversed().map((index) => `${frame.x(index).toFixed(1)} ${frame.y(high[index]).toFixed(1)}`);
      way += `M${[...there, ...back].join("L")}Z`;
    }
    run = [];
  };
  low.forEach((value, index) => {
    if (value === null || high[index] === null) close();
    else run.push(index);
  });
  close();
  return svg("path", { class: kind, d: way });
}

function newest(frame, values) {
  const index = values.findLastIndex((value) => value !== null);
  return index < 0 ? null : svg("circle", { class: "dot", cx: frame.x(index), cy: frame.y(values[index]), r: 4.5 });
}

// Elements from data. Everything that came from the cluster becomes a text node: no string is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; attributes that are null or false are left out, strings among the children become text. */
export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  const exact = element.localName === "pre" || element.localName === "code";
  const shown = children.flat(3).filter((child) => child !== null && child !== undefined && child !== "");
  element.append(...shown.map((child) => (typeof child === "string" && !exact ? together(child) : child)));
  return element;
}

/** A number and its unit stay on one line; what is to be copied stays as it is. */
function together(text) {
  return text.replace(/([0-9]) (?=%|ms\b)/g, "$1\u00a0").replace(/([≤≥]) (?=[0-9])/g, "$1\u00a0");
}

/** How long ago, in one unit, as the terminal says it. */
export function age(iso, now) {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) {
    if (seconds >= 2 * size || (unit === "m" && seconds >= size)) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${Math.floor(seconds)}s`;
}

/** A time of the day where the reader is; with the date when it is another day. */
export function clock(seconds, now, withSeconds = false) {
  const at = new Date(seconds * 1000);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined, hour12: false });
  const near = Math.abs(now - at.getTime()) < 20 * 3600 * 1000;
  return near ? time : `${at.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`;
}

/** A bar from 0 to 1 that says in words what it shows. */
export function meter(part, label, kind) {
  const width = `${100 * Math.min(Math.max(part, 0), 1)}%`;
  return svg("svg", { class: "meter", role: "img", "aria-label": label },
    svg("rect", { class: "track", width: "100%", height: "100%", rx: 4 }),
    svg("rect", { class: `fill-${kind}`, width, height: "100%", rx: 4 }));
}

/** A number in a gate's unit, as short as an axis needs. */
export function number(value, unit, span = 0) {
  const scaled = unit === "share" ? 100 * value : unit === "seconds" ? 1000 * value : value;
  const wide = Math.abs(unit === "share" ? 100 * span : unit === "seconds" ? 1000 * span : span);
  const digits = wide > 0 ? Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(wide)))) : 2;
  const text = Math.abs(scaled) >= 1e5 ? scaled.toExponential(1) : scaled.toFixed(digits);
  return text + (unit === "share" ? " %" : unit === "seconds" ? " ms" : "");
}

// Elements without a framework: text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function h(name, about = {}, ...children) {
  return filled(document.createElement(name), about, children);
}

export function svg(name, about = {}, ...children) {
  return filled(document.createElementNS(SVG, name), about, children);
}

function filled(element, about, children) {
  for (const [key, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child || child === 0));
  return element;
}

// Three digits that mean something: 0.997, 13.0, 10,017.
export function number(value) {
  const size = Math.abs(value);
  if (size > 0 && size < 0.001) return value < 0 ? "−0.000…" : "below 0.001";
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

export const listed = (parts) => new Intl.ListFormat("en").format(parts);

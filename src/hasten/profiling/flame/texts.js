// What all parts of the page share: the data in the document, figures as texts, elements. The parts are one function's
// body: _page.py puts them together. All text goes in by textContent or onto the canvas, since functions, files and
// routes are called whatever the service says.

const ROW = 21; // pixels of one level
const SEEN = 0.6; // pixels from which on a frame is drawn
const MOVING = 170; // milliseconds that a zoom takes
const FIRST_ROWS = 25;
const DEEP_FROM = 20; // levels from which on libraries' frames are folded at first
const [ENDPOINT, FUNCTION, KIND, SMALLER] = [0, 1, 2, 3];
const NOTHING = "–";
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const steps = data.steps.map(([role, name, place, library]) => ({ role, name, place, library }));
const tree = data.tree;
const compared = data.compared;

// ---- texts

const figures = (value) => (value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2));
function time(seconds) {
  const size = Math.abs(seconds);
  if (size >= 0.9995) return `${figures(size)} s`;
  if (size >= 0.9995e-3) return `${figures(size * 1e3)} ms`;
  if (size >= 0.9995e-6) return `${figures(size * 1e6)} µs`;
  return size > 1e-9 ? `${figures(size * 1e9)} ns` : "0";
}
const signed = (seconds) => (time(seconds) === "0" ? "0" : `${seconds < 0 ? "−" : "+"}${time(seconds)}`);
const share = (value) => (Number.isFinite(value) ? `${(value * 100).toFixed(Math.abs(value) >= 0.9995 || value === 0 ? 0 : Math.abs(value) < 0.001 ? 2 : 1)} %` : NOTHING);
const count = (value) => Math.round(value).toLocaleString("en");
function changed(before, after) {
  if (!before) return after ? "new" : NOTHING;
  if (!after) return "gone";
  const ratio = after / before - 1;
  if (Math.abs(ratio) < 0.0005) return "0 %";
  return ratio >= 10 ? `${figures(after / before)} ×` : `${ratio < 0 ? "−" : "+"}${share(Math.abs(ratio))}`;
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

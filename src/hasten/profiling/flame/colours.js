// What a frame is painted with: the kind of time that most of it is, what changed in it, or whose code it is.

let colours = {};
const probe = $("probe");
function colour(name) {
  if (!colours[name]) {
    probe.style.color = `var(--${name}, var(--unexplained))`;
    const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
    colours[name] = [red, green, blue];
  }
  return colours[name];
}
const mixed = (one, other, part) => one.map((value, at) => Math.round(value + (other[at] - value) * part));
const css = (rgb) => `rgb(${rgb.join(" ")})`;
function hash(text) {
  let value = 2166136261;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 16777619);
  return ((value ^ (value >>> 13)) >>> 0) / 4294967296;
}
const isDark = () => colour("card")[0] < 128;
function hsl(hue, saturation, light) {
  const part = (shift) => {
    const at = (shift + hue / 30) % 12;
    return Math.round(255 * (light - saturation * Math.min(light, 1 - light) * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return [part(0), part(8), part(4)];
}
const DEEP = new Set(["computing", "blocking", "waiting", "held", "thread", "collecting", "unread", "preempted", "cache", "queued", "thread-queued", "unexplained"]);
let [most, mostOwn] = [1, 1]; // largest changes in what is looked at

/** Returns what a node is filled with, and the colour of its text. */
function paint(node) {
  const one = steps[step[node]];
  if (one.role === SMALLER) return [colour("rest"), colour("soft")];
  if (state.colour === "change") {
    if (node === 0) return [colour("same"), colour("ink")];
    // What changed itself stands out; what calls it is a faint trail that leads there
    const [change, own] = [after[node] - before[node], ownChange[node]];
    const [trail, self] = [0.3 * Math.min(1, Math.abs(change) / most), Math.min(1, Math.abs(own) / mostOwn) ** 0.6];
    const part = Math.max(trail, self < 0.05 ? 0 : self);
    const fill = mixed(colour("same"), colour((self >= trail ? own : change) > 0 ? "more" : "less"), part < 0.03 ? 0 : part);
    return [fill, part > 0.62 ? colour("on-deep") : colour("ink")];
  }
  if (one.role === ENDPOINT) return [node === 0 ? colour("same") : colour("endpoint"), node === 0 ? colour("ink") : colour("on-endpoint")];
  if (one.role === KIND) return [colour(DEEP.has(one.name) ? one.name : "unexplained"), colour("on-deep")];
  if (state.colour === "kind") {
    const of = strongest(node);
    const strength = (one.library ? 0.15 : 0.27) + 0.1 * hash(one.name);
    return [mixed(colour("card"), colour(of === "" ? "library" : of), of === "" ? 0.8 : strength), colour("ink")];
  }
  return hashed(one);
}
function hashed(one) {
  const [which, shade] = [hash(one.place.replace(/[^/]*$/, "") || one.name), hash(one.name)];
  if (state.colour === "code" && one.library) return [mixed(colour("library"), colour("card"), 0.35 * shade), colour("ink")];
  const warm = isDark() ? 8 + 30 * shade : 8 + 40 * shade; // darker yellows are olive
  const hue = one.library ? 190 + 60 * which : warm;
  const saturation = one.library ? 0.3 : 0.78;
  const light = isDark() ? (one.library ? 0.25 : 0.33) + 0.07 * shade : (one.library ? 0.83 : 0.72) + 0.08 * shade;
  return [hsl(hue, saturation, light), colour("ink")];
}
const strongestOf = new Int32Array(N).fill(-2);
function strongest(node) {
  if (strongestOf[node] === -2) {
    let best = -1;
    for (let kind = 0; kind < kinds.length; kind += 1) {
      const seconds = perKind[node * kinds.length + kind];
      if (seconds > 0 && (best < 0 || seconds > perKind[node * kinds.length + best])) best = kind;
    }
    strongestOf[node] = best;
  }
  return strongestOf[node] < 0 ? "" : kinds[strongestOf[node]];
}

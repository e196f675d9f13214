// The tree as columns of numbers, and what of it is looked at.

// ---- the tree: columns of numbers, one entry a node, in preorder

const N = tree ? tree.depth.length : 0;
const depth = Int32Array.from(tree ? tree.depth : []);
const step = Int32Array.from(tree ? tree.step : []);
const after = Float64Array.from(tree ? tree.after : []);
const before = Float64Array.from(tree && compared ? tree.before : new Array(N).fill(0));
const unit = tree ? tree.unit : 1;
const parent = new Int32Array(N).fill(-1);
const end = new Int32Array(N).fill(N); // the first node behind all that is below
const width = new Float64Array(N);
const start = new Float64Array(N);
const kinds = data.kinds;
const perKind = new Float64Array(N * kinds.length); // seconds of each kind in a node, in its units

function connect() {
  const open = [];
  for (let node = 0; node < N; node += 1) {
    while (open.length > depth[node]) end[open.pop()] = node;
    parent[node] = open.length ? open[open.length - 1] : -1;
    open.push(node);
  }
  for (let node = N - 1; node >= 0; node -= 1) {
    const one = steps[step[node]];
    if (one.role === KIND) perKind[node * kinds.length + kinds.indexOf(one.name)] = after[node] + before[node];
    if (parent[node] < 0) continue;
    for (let kind = 0; kind < kinds.length; kind += 1) perKind[parent[node] * kinds.length + kind] += perKind[node * kinds.length + kind];
  }
}
function measure() {
  const way = compared ? $("width").value : "after";
  for (let node = 0; node < N; node += 1) width[node] = way === "after" ? after[node] : way === "before" ? before[node] : after[node] + before[node];
  const next = new Float64Array(N);
  for (let node = 0; node < N; node += 1) {
    const above = parent[node];
    start[node] = above < 0 ? 0 : next[above];
    next[node] = start[node];
    if (above >= 0) next[above] += width[node];
  }
}
function inner(node, column) {
  let seconds = column[node];
  for (let child = node + 1; child < end[node]; child = end[child]) {
    if (steps[step[child]].role !== KIND) seconds -= column[child];
  }
  return Math.max(0, seconds);
}
const level = new Int32Array(N); // the row that it stands in
const shown = new Int32Array(N); // the node that it is shown as: another one of a folded run of libraries' frames
const folded = new Int32Array(N); // frames that are folded into it
const ownChange = new Float64Array(N); // of functions and kinds of time, with what is folded into them
const isLibrary = (node) => steps[step[node]].role === FUNCTION && steps[step[node]].library;
/** Gives each node its row: of libraries' frames that call each other only the first has one, if they are folded. */
function fold() {
  folded.fill(0);
  ownChange.fill(0);
  for (let node = 0; node < N; node += 1) {
    const above = parent[node];
    const inside = state.folded && above > 0 && isLibrary(node) && isLibrary(above);
    shown[node] = inside ? shown[above] : node;
    level[node] = above < 0 ? 0 : level[above] + (inside ? 0 : 1);
    if (inside) folded[shown[node]] += 1;
    if (compared) ownChange[shown[node]] += ownOf(node, after) - ownOf(node, before);
  }
}
/** Returns what a node's own is: of a function what its callees do not have, of what stands for others all of it. */
function ownOf(node, column) {
  const { role } = steps[step[node]];
  return role === ENDPOINT ? 0 : role === FUNCTION ? inner(node, column) : column[node];
}
/** Returns the own time of a node, and of what is folded into it. */
function ownShown(node, column) {
  let sum = ownOf(node, column);
  for (let one = node + 1; folded[node] && one < end[node]; one += 1) if (shown[one] === node) sum += ownOf(one, column);
  return sum;
}
const outer = (node) => (parent[node] < 0 ? node : shown[parent[node]]);
const endpoints = new Map(); // node, and number of the scope

// ---- what is looked at

const state = { scope: 0, zoom: 0, cursor: -1, hovered: -1, low: 0, high: 1, up: false, folded: false, matched: null, theme: "system", colour: "", sort: null, rising: false, total: false, all: false };
const scope = () => data.scopes[state.scope];
const everything = () => (endpoints.size ? "all requests" : compared || data.scopes[0].name === "" ? "everything" : "");
const nameOf = (node) => (node === 0 ? everything() : steps[step[node]].name);
const placeOf = (node) => {
  const { place } = steps[step[node]];
  const line = tree.line[node];
  return place && line ? `${place}:${line}` : place;
};
const each = (seconds) => (scope().units ? seconds / scope().units : null);
const perWhat = () => `a ${data.per}`;

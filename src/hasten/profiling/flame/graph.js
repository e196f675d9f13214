// The flame graph on its canvas: drawing, zooming, and what is told of one frame.

// ---- drawing

const canvas = $("canvas");
const stage = $("stage");
const pen = canvas.getContext("2d");
const FONT = "11.5px ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace";
let rows = []; // by level, what is drawn there, from left to right
let deepest = 0;
let letter = 7;

/** Yields by number each node of the window that is wide enough to be seen. */
function walk(low, high, each) {
  const scale = stage.clientWidth / (high - low || 1);
  for (let node = 0; node < N; ) {
    const left = (start[node] - low) * scale;
    const wide = width[node] * scale;
    if (wide < SEEN || left + wide < 0 || left > stage.clientWidth) node = end[node];
    else {
      each(node, left, wide);
      node += 1;
    }
  }
}
const isAbove = (node, below) => node <= below && below < end[node];
function fit() {
  deepest = 0;
  walk(start[state.zoom], start[state.zoom] + width[state.zoom], (node) => (deepest = Math.max(deepest, level[node])));
  const whole = (deepest + 1) * ROW;
  const most = parseFloat(getComputedStyle(stage).maxHeight) || whole;
  const high = Math.min(whole, most);
  const dense = devicePixelRatio || 1;
  canvas.width = Math.round(stage.clientWidth * dense);
  canvas.height = Math.round(high * dense);
  canvas.style.height = `${high}px`;
  $("room").style.height = `${whole - high}px`;
}
const top = (node) => (state.up ? deepest - level[node] : level[node]) * ROW - stage.scrollTop;

function draw() {
  if (!tree) return;
  const dense = devicePixelRatio || 1;
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.font = FONT;
  letter = pen.measureText("0").width;
  pen.textBaseline = "middle";
  rows = [];
  walk(state.low, state.high, (node, left, wide) => {
    const from = Math.max(0, left);
    const to = Math.min(stage.clientWidth, left + wide);
    const inside = shown[node] !== node;
    if (inside && !(state.matched && state.matched[step[node]])) return; // of what is folded only what was searched
    if (!inside) (rows[level[node]] ||= []).push([from, to, node]);
    const y = top(node);
    if (y > -ROW && y < canvas.height) drawNode(node, from, to, y);
  });
  if (state.hovered >= 0) outline(state.hovered, css(colour("ink")), 1);
  if (state.cursor >= 0 && document.activeElement === canvas) outline(state.cursor, css(colour("accent")), 2.5);
}
function drawNode(node, from, to, y) {
  const matched = state.matched && state.matched[step[node]];
  let [fill, ink] = matched ? [colour("found"), colour("on-found")] : paint(node);
  if (state.matched && !matched) [fill, ink] = [mixed(colour("card"), fill, 0.3), colour("soft")];
  else if (node !== state.zoom && isAbove(node, state.zoom)) [fill, ink] = [mixed(colour("card"), fill, 0.45), colour("ink")];
  pen.fillStyle = css(fill);
  pen.fillRect(from, y, Math.max(to - from - (to - from > 3 ? 1 : 0), SEEN), ROW - 1);
  if (compared && before[node] === 0 && to - from > 4) hatch(from, to, y);
  if (to - from > 4 * letter) write(node, from, to, y, ink);
}
function write(node, from, to, y, ink) {
  const one = steps[step[node]];
  const room = Math.floor((to - from - 10) / letter);
  const name = nameOf(node);
  const fits = name.length <= room;
  const short = fits ? name : shortened(name, room);
  pen.fillStyle = css(ink);
  pen.font = one.role === ENDPOINT || (one.role === FUNCTION && !one.library) ? `600 ${FONT}` : FONT;
  pen.fillText(short, from + 5, y + ROW / 2);
  const place = folded[node] ? `${placeOf(node)}  +${folded[node]} folded`.trim() : placeOf(node);
  if (fits && place && one.role === FUNCTION && room - name.length > place.length + 3) {
    pen.font = FONT;
    pen.globalAlpha = 0.72;
    pen.fillText(place, from + 5 + (name.length + 2) * letter, y + ROW / 2);
    pen.globalAlpha = 1;
  }
}
/** Returns what fits of a name: of a qualified one the last part, unless that is one that all classes have. */
function shortened(name, room) {
  const last = name.slice(name.lastIndexOf(".") + 1);
  return last.length <= room && !last.startsWith("__") && /^[\w.<>]+$/.test(name) ? last : `${name.slice(0, Math.max(0, room - 1))}…`;
}
function hatch(from, to, y) {
  pen.save();
  pen.beginPath();
  pen.rect(from, y, to - from - 1, ROW - 1);
  pen.clip();
  pen.strokeStyle = css(colour("card"));
  pen.globalAlpha = 0.35;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (let x = from - ROW; x < to; x += 8) {
    pen.moveTo(x, y + ROW);
    pen.lineTo(x + ROW, y);
  }
  pen.stroke();
  pen.restore();
}
function outline(node, style, thick) {
  const found = (rows[level[node]] || []).find(([, , one]) => one === node);
  if (!found) return;
  pen.strokeStyle = style;
  pen.lineWidth = thick;
  pen.strokeRect(found[0] + thick / 2, top(node) + thick / 2, Math.max(1, found[1] - found[0] - 1 - thick), ROW - 1 - thick);
}
let asked = false;
function drawSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

// ---- zooming

function goTo(node, { still = false } = {}) {
  state.zoom = node;
  const within = scopeOf(node);
  if (within !== state.scope) {
    state.scope = within;
    $("scope").value = String(within);
    drawTable();
  }
  const [low, high] = [start[node], start[node] + width[node]];
  const [fromLow, fromHigh] = [state.low, state.high];
  fit();
  findMost();
  tellZoom();
  tellFound();
  drawLegend();
  if (state.up) stage.scrollTop = stage.scrollHeight;
  const calm = still || matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden;
  const begun = performance.now();
  const mine = (state.move = (state.move || 0) + 1);
  function frame(now) {
    if (mine !== state.move) return;
    const part = calm ? 1 : Math.max(0, Math.min(1, (now - begun) / MOVING));
    const eased = 1 - (1 - part) ** 3;
    state.low = fromLow + (low - fromLow) * eased;
    state.high = fromHigh + (high - fromHigh) * eased;
    draw();
    if (part < 1) requestAnimationFrame(frame);
  }
  if (calm) frame(begun);
  else requestAnimationFrame(frame);
  tellDetails();
}
function endpointOf(node) {
  while (node > 0 && steps[step[node]].role !== ENDPOINT) node = parent[node];
  return Math.max(0, node);
}
/** What a node belongs to: an endpoint if one is looked at already or the node is one, else everything. */
function scopeOf(node) {
  const above = endpointOf(node);
  const own = endpoints.get(above) ?? 0;
  return node === above || state.scope !== 0 ? own : 0;
}
function findMost() {
  [most, mostOwn] = [1, 1];
  if (!compared) return;
  for (let node = Math.max(1, state.zoom); node < end[state.zoom]; node += 1) {
    most = Math.max(most, Math.abs(after[node] - before[node]));
    mostOwn = Math.max(mostOwn, Math.abs(ownChange[node]));
  }
}
function tellZoom() {
  const path = [];
  for (let node = state.zoom; ; node = outer(node)) {
    path.unshift(node);
    if (node === 0) break;
  }
  const shown = path.length > 6 ? [path[0], path[1], -1, ...path.slice(-3)] : path;
  $("crumbs").replaceChildren(...shown.flatMap((node, at) => {
    const mark = at ? [make("span", { class: "soft", "aria-hidden": "true" }, "›")] : [];
    if (node < 0) return [...mark, make("span", { class: "soft" }, "…")];
    if (node === state.zoom) return [...mark, make("span", { "aria-current": "location" }, nameOf(node))];
    const button = make("button", { type: "button", title: nameOf(node) }, nameOf(node));
    button.addEventListener("click", () => {
      goTo(node);
      canvas.focus({ preventScroll: true });
    });
    return [...mark, button];
  }));
  $("reset").disabled = state.zoom === 0;
}

// ---- what is told of one frame

function tellDetails() {
  const node = state.hovered >= 0 ? state.hovered : state.cursor >= 0 ? state.cursor : state.zoom;
  const one = steps[step[node]];
  const place = placeOf(node);
  const above = one.role === KIND && parent[node] > 0 ? steps[step[parent[node]]].name : "";
  const title = make("div", null, make("span", { class: "name mono" }, node === 0 ? everything() : above ? `${one.name} in ${above}` : one.name),
    place ? make("span", { class: "place mono" }, place) : null,
    one.role === FUNCTION && one.library ? make("span", { class: "place" }, "  library") : null);
  $("details").replaceChildren(title, make("div", { class: "figures" }, ...(compared ? comparedFigures(node) : plainFigures(node))));
}
const figure = (value, text, style) => make("span", null, make("b", { class: style }, value), ` ${text}`);
function plainFigures(node) {
  const seconds = after[node] * unit;
  const own = ownShown(node, after) * unit;
  const [whole, zoomed] = [scope().spent, after[state.zoom] * unit];
  const told = [figure(time(seconds), "in all"), figure(share(whole ? seconds / whole : 0), `of ${scope().name || everything()}`)];
  if (state.zoom && nameOf(state.zoom) !== scope().name && zoomed) told.push(figure(share(seconds / zoomed), "of what is zoomed to"));
  if (data.per === "request" && each(seconds) != null) told.push(figure(time(each(seconds)), perWhat()));
  if (steps[step[node]].role === FUNCTION) told.push(figure(time(own), "own"));
  if (data.sample) told.push(figure(count(seconds / data.sample), "samples"));
  return [...told, ...hiddenFigures(node)];
}
function comparedFigures(node) {
  const [old, now] = [each(before[node] * unit), each(after[node] * unit)];
  const change = now - old;
  const style = change > 0 ? "more" : "less";
  const told = [figure(time(old), "before"), figure(time(now), `after, ${perWhat()}`), figure(signed(change), changed(old, now), style)];
  if (steps[step[node]].role === FUNCTION) told.push(figure(signed(each(ownChange[node] * unit)), "own"));
  return [...told, ...hiddenFigures(node)];
}
function hiddenFigures(node) {
  if (tree.hidden[node]) return [figure(count(tree.hidden[node]), "stacks too narrow to be drawn")];
  return folded[node] ? [figure(count(folded[node]), "more frames of libraries, folded")] : [];
}

function drawLegend() {
  const items = [];
  const of = (style, text, beside) => items.push(make("li", null, make("i", { class: style }), text, beside ? make("b", null, beside) : null));
  if (state.colour === "change") {
    const scale = make("span", { class: "scale", "aria-hidden": "true" });
    items.push(make("li", null, signed(-each(mostOwn * unit)), scale, `${signed(each(mostOwn * unit))} ${perWhat()} of its own`), make("li", null, "faint: what calls it"), make("li", null, "hatched: new"));
  } else {
    const found = kinds.map((kind, at) => [kind, perKind[state.zoom * kinds.length + at]]).filter(([, seconds]) => seconds > 0);
    const whole = found.reduce((sum, [, seconds]) => sum + seconds, 0);
    found.sort((one, other) => other[1] - one[1]);
    if (state.colour !== "kind") {
      of("l-own", "your code");
      of("l-library", "libraries, Python, C");
    }
    for (const [kind, seconds] of found) of(DEEP.has(kind) ? `k-${kind}` : "k-other", kind, share(seconds / whole));
  }
  $("legend").replaceChildren(...items);
}

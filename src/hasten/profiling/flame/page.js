// Pointer, keys, buttons, and the beginning.

// ---- pointer and keys

function at(event) {
  const box = canvas.getBoundingClientRect();
  const y = event.clientY - box.top + stage.scrollTop;
  const level = Math.floor(y / ROW);
  const row = rows[state.up ? deepest - level : level] || [];
  const x = event.clientX - box.left;
  let [low, high] = [0, row.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (row[middle][1] < x) low = middle + 1;
    else if (row[middle][0] > x) high = middle - 1;
    else return row[middle][2];
  }
  return -1;
}
function hover(node) {
  if (node === state.hovered) return;
  state.hovered = node;
  canvas.title = node < 0 ? "" : [nameOf(node), placeOf(node)].filter(Boolean).join("\n");
  tellDetails();
  drawSoon();
}
function walkTo(node) {
  state.cursor = node;
  state.hovered = -1;
  const y = top(node) + stage.scrollTop;
  if (y < stage.scrollTop) stage.scrollTop = y;
  else if (y + ROW > stage.scrollTop + stage.clientHeight) stage.scrollTop = y + ROW - stage.clientHeight;
  tellDetails();
  drawSoon();
}
function beside(node, way) {
  const row = rows[level[node]] || [];
  const here = row.findIndex(([, , one]) => one === node);
  return here < 0 || !row[here + way] ? node : row[here + way][2];
}
function below(node) {
  const found = (rows[level[node] + 1] || []).filter(([, , one]) => outer(one) === node);
  return found.length ? found[0][2] : node;
}
function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const node = state.cursor >= 0 ? state.cursor : state.zoom;
  const keys = {
    ArrowLeft: () => walkTo(beside(node, -1)), ArrowRight: () => walkTo(beside(node, 1)),
    ArrowDown: () => walkTo(state.up ? outer(node) : below(node)), ArrowUp: () => walkTo(state.up ? below(node) : outer(node)),
    Enter: () => zoomTo(node), " ": () => zoomTo(node), Home: () => walkTo(0),
    Backspace: () => zoomTo(outer(state.zoom)), Escape: () => zoomTo(0),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}
function zoomTo(node) {
  state.cursor = node;
  goTo(node);
}

// ---- beginning

const THEMES = ["system", "dark", "light"];
function theme(name) {
  state.theme = name;
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = `Theme: ${name}`;
  colours = {};
  drawSoon();
}
function kept() {
  try { return localStorage.getItem("hasten-theme") || "system"; } catch { return "system"; }
}
function keep(name) {
  try { localStorage.setItem("hasten-theme", name); } catch { /* a page from a file may have none: the choice ends with it */ }
}
function offerColours() {
  const ways = [...(compared ? [["change", "change"]] : []), ...(kinds.length ? [["kind", "kind of time"]] : []), ["function", "function"], ["code", "your code"]];
  $("colour").replaceChildren(...ways.map(([value, text]) => make("option", { value }, text)));
  state.colour = ways[0][0];
}
function offerScopes() {
  const numbers = new Map(data.scopes.map((one, at) => [one.name, at]));
  for (let node = 1; node < N; node += 1) {
    const one = steps[step[node]];
    if (one.role === ENDPOINT && numbers.has(one.name)) endpoints.set(node, numbers.get(one.name));
  }
  $("scope").replaceChildren(...data.scopes.map((one, at) => make("option", { value: at }, one.name || "all endpoints")));
  $("for-scope").hidden = data.scopes.length < 2;
}
function foldAll(on) {
  state.folded = on;
  $("fold").setAttribute("aria-pressed", String(on));
  fold();
}
/** Offers to fold libraries where there is code of others and of the user's, and does it where stacks are deep. */
function offerFolding() {
  const used = new Set(steps.filter((one) => one.role === FUNCTION).map((one) => one.library));
  $("fold").hidden = used.size < 2;
  foldAll(used.size > 1 && depth.reduce((most, one) => Math.max(most, one), 0) > DEEP_FROM);
}
function choose() {
  state.scope = Number($("scope").value);
  const found = [...endpoints].find(([, number]) => number === state.scope);
  state.cursor = -1;
  drawTable();
  if (tree) goTo(found ? found[0] : 0);
}
function listen() {
  canvas.addEventListener("pointermove", (event) => event.pointerType !== "touch" && hover(at(event)));
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("click", (event) => at(event) >= 0 && zoomTo(at(event)));
  canvas.addEventListener("keydown", press);
  canvas.addEventListener("focus", drawSoon);
  canvas.addEventListener("blur", drawSoon);
  stage.addEventListener("scroll", drawSoon);
  $("reset").addEventListener("click", () => zoomTo(0));
  $("turn").addEventListener("click", () => {
    state.up = !state.up;
    $("turn").setAttribute("aria-pressed", String(state.up));
    goTo(state.zoom, { still: true });
  });
  $("fold").addEventListener("click", () => {
    foldAll(!state.folded);
    state.cursor = -1;
    goTo(shown[state.zoom], { still: true });
  });
  $("colour").addEventListener("change", () => {
    state.colour = $("colour").value;
    drawLegend();
    drawSoon();
  });
  $("width").addEventListener("change", () => {
    measure();
    goTo(width[state.zoom] ? state.zoom : 0, { still: true });
  });
  new ResizeObserver(() => {
    fit();
    draw();
  }).observe(stage);
}
function listenToAll() {
  $("scope").addEventListener("change", choose);
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    $("search").value = "";
    search();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /^(INPUT|SELECT)$/.test(document.activeElement.tagName)) return;
    event.preventDefault();
    $("search").focus();
  });
  for (const [id, total] of [["own", false], ["total", true]]) {
    $(id).addEventListener("click", () => {
      state.total = total;
      $("own").setAttribute("aria-pressed", String(!total));
      $("total").setAttribute("aria-pressed", String(total));
      drawTable();
    });
  }
  $("all").addEventListener("click", () => {
    state.all = true;
    drawTable();
  });
  $("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length];
    keep(next);
    theme(next);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(state.theme));
}

if (!$("notes").querySelector("li")) $("notes").hidden = true;
$("for-width").hidden = !compared || !tree;
offerColours();
offerScopes();
theme(THEMES.includes(kept()) ? kept() : "system");
listenToAll();
if (tree) {
  connect();
  measure();
  offerFolding();
  listen();
  [state.low, state.high] = [0, width[0] || 1];
  goTo(0, { still: true });
} else {
  for (const id of ["for-colour", "turn", "fold", "reset", "zoomed", "stage", "details", "legend", "keys"]) $(id).hidden = true;
  $("h-graph").textContent = "What the table tells";
}
drawTable();

// Searching, and the table of functions.

// ---- searching

function pattern() {
  const text = $("search").value.trim();
  if (!text) return null;
  if (text.length > 2 && text.startsWith("/") && text.endsWith("/")) {
    try {
      const expression = new RegExp(text.slice(1, -1), "i");
      return (one) => expression.test(one);
    } catch {
      return () => false;
    }
  }
  const plain = text.toLowerCase();
  return (one) => one.toLowerCase().includes(plain);
}
function search() {
  const test = pattern();
  state.matched = test && Uint8Array.from(steps, (one, at) => (one.role !== SMALLER && (at > 0 || one.name) && (test(one.name) || test(one.place)) ? 1 : 0));
  tellFound();
  if (tree) scrollToFound();
  drawSoon();
  state.all = false;
  drawTable();
}
/** Brings the outermost frame that was found into sight if none is. */
function scrollToFound() {
  let first = -1;
  walk(state.low, state.high, (node) => {
    if (state.matched && state.matched[step[node]] && (first < 0 || level[node] < level[first])) first = node;
  });
  if (first >= 0 && (top(first) < 0 || top(first) + ROW > stage.clientHeight)) stage.scrollTop += top(first) - 2 * ROW;
}
function tellFound() {
  if (!state.matched || !tree) {
    $("found").replaceChildren();
    return;
  }
  let [sum, old] = [0, 0];
  for (let node = state.zoom; node < end[state.zoom]; ) {
    if (state.matched[step[node]]) {
      sum += after[node]; // what is below is in it
      old += before[node];
      node = end[node];
    } else node += 1;
  }
  const many = state.matched.reduce((whole, one) => whole + one, 0);
  const words = !many ? "nothing found" : !sum && !old ? "found, but not in what is zoomed to" : compared ? `${time(each(old * unit))} → ${time(each(sum * unit))} ${perWhat()}` : [share(sum / after[state.zoom]), data.per === "request" && scope().units ? `${time(each(sum * unit))} ${perWhat()}` : time(sum * unit)].join(" · ");
  $("found").replaceChildren(many ? make("i", null) : "", words);
}

// ---- the table

const own = (row) => (state.total ? row.total : row.own);
const ownBefore = (row) => (state.total ? row.total_before : row.own_before);
const FIELDS = ["name", "place", "library", "own", "total", "count", "kinds", "own_before", "total_before", "sure"];
for (const one of data.scopes) one.rows = one.rows.map((row) => Object.fromEntries(FIELDS.map((field, at) => [field, row[at] ?? (field === "sure" ? true : 0)])));
function columns() {
  const kindsColumn = kinds.length ? [{ head: "kinds", bar: true, narrow: true }] : [];
  if (compared) {
    return [...kindsColumn,
      { head: "before", value: (row) => each(ownBefore(row)), text: time, narrow: true },
      { head: "after", value: (row) => each(own(row)), text: time },
      { head: "change", value: (row) => each(own(row) - ownBefore(row)), text: signed, size: Math.abs, style: (row, value) => (!row.sure ? "unsure" : value > 0 ? "more" : value < 0 ? "less" : null), first: true },
      { head: "of itself", value: (row) => (ownBefore(row) ? own(row) / ownBefore(row) : Infinity), text: (_, row) => changed(ownBefore(row), own(row)), narrow: true }];
  }
  const counts = data.sample ? "samples" : data.scopes[0].rows.some((row) => row.kinds && Object.keys(row.kinds).length) ? "" : "calls";
  return [...kindsColumn,
    { head: "seconds", value: own, text: time, first: true },
    { head: "share", value: (row) => (scope().spent ? own(row) / scope().spent : 0), text: share },
    ...(data.per === "request" && scope().units ? [{ head: "a request", value: (row) => each(own(row)), text: time, narrow: true }] : []),
    ...(counts ? [{ head: counts, value: (row) => row.count, text: count, narrow: true }] : [])];
}
function drawTable() {
  const test = pattern();
  const all = columns();
  const found = scope().rows.filter((row) => (!test || test(row.name) || test(row.place)) && (own(row) || ownBefore(row)));
  const by = all.find((one) => one.head === state.sort) || (state.sort === "function" ? null : all.find((one) => one.first));
  found.sort((one, other) => {
    const order = by ? (by.size || Number)(by.value(other)) - (by.size || Number)(by.value(one)) : one.name.localeCompare(other.name);
    return (state.rising ? -order : order) || 0;
  });
  $("heads").replaceChildren(head("function", state.sort === "function"), ...all.map((one) => (one.bar ? make("th", { scope: "col", class: "narrow-hidden" }, "own time by kind") : head(one.head, one === by, one.narrow))));
  const shown = state.all ? found : found.slice(0, FIRST_ROWS);
  $("rows").replaceChildren(...shown.map((row) => make("tr", null, functionCell(row), ...all.map((one) => cell(row, one)))));
  $("all").hidden = shown.length === found.length;
  $("all").textContent = `Show all ${count(found.length)}`;
  const left = scope().left_out;
  $("more").textContent = !scope().rows.length ? "Nothing is told of this endpoint's functions alone." : !found.length ? "No function is like this." : left && shown.length === found.length ? `${count(left)} more functions took less than each of these.` : "";
  $("h-functions").textContent = `Functions${scope().name ? ` of ${scope().name}` : ""}${compared ? `, ${perWhat()}` : ""}`;
}
function head(text, sorted, narrow) {
  const button = make("button", { type: "button" }, text);
  button.addEventListener("click", () => {
    state.rising = sorted ? !state.rising : false;
    state.sort = text;
    drawTable();
    for (const one of $("heads").querySelectorAll("button")) if (one.textContent === text) one.focus();
  });
  return make("th", { scope: "col", class: narrow ? "narrow-hidden" : null, "aria-sort": sorted ? ((text === "function") !== state.rising ? "ascending" : "descending") : null }, button);
}
function functionCell(row) {
  const button = make("button", { type: "button", class: row.library ? "mono" : "mono user", title: `Search ${row.name}` }, row.name);
  button.addEventListener("click", () => {
    $("search").value = row.name;
    search();
    $("graph").scrollIntoView({ block: "start" });
    $("search").focus({ preventScroll: true });
  });
  return make("th", { scope: "row" }, make("div", null, button, row.place ? make("span", { class: "place mono", title: row.place }, row.place) : null));
}
function cell(row, one) {
  if (one.bar) return make("td", { class: "narrow-hidden" }, bar(row));
  const value = one.value(row);
  const style = [one.style && one.style(row, value), one.narrow ? "narrow-hidden" : ""].filter(Boolean).join(" ");
  return make("td", { class: style || null, title: one.style && !row.sure ? "may be chance" : null }, value == null ? NOTHING : one.text(value, row));
}
function bar(row) {
  const parts = Object.entries(row.kinds || {}).map(([kind, [old, now]]) => [kind, compared ? now || old : now]).sort((one, other) => other[1] - one[1]);
  const whole = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  if (!whole) return "";
  const told = parts.map(([kind, seconds]) => `${kind} ${share(seconds / whole)}`).join(", ");
  const line = make("span", { class: "kinds", role: "img", "aria-label": told, title: told });
  for (const [kind, seconds] of parts) {
    const part = make("span", { class: DEEP.has(kind) ? `k-${kind}` : "k-other" });
    part.style.flexGrow = String((100 * seconds) / whole); // sums below 1 would leave a rest
    line.append(part);
  }
  return line;
}

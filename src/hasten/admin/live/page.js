"use strict";
// The live page: draws a Story that is in the document, then each sample that the server sends. All text goes in by
// textContent, since routes, sites and reasons are whatever the service says.
(() => {
  const KEPT = 300; // points
  const SILENT_AFTER = 5; // seconds without a sample before the connection counts as lost
  const SHOWN_FROM = 0.25; // seconds that the loop must be blocked to be worth a banner
  const $ = (id) => document.getElementById(id);
  const story = JSON.parse($("story").textContent);
  const FIELDS = story.fields;
  const NOTHING = "–";

  const state = { points: [], sample: null, source: null, heard: 0, arrived: 0, lost: false, paused: false, retry: 1, theme: "system" };

  // ---- texts

  const figures = (value) => (value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2));
  const count = (value) => (value >= 99.95 ? Math.round(value).toLocaleString("en") : value >= 9.95 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(2).replace(/\.?0+$/, ""));
  function time(seconds) {
    if (seconds == null) return [NOTHING, ""];
    if (seconds >= 0.9995) return [figures(seconds), "s"];
    if (seconds >= 0.9995e-3) return [figures(seconds * 1e3), "ms"];
    return seconds ? [figures(seconds * 1e6), "µs"] : ["0", "ms"];
  }
  const timed = (seconds) => time(seconds).join(" ").trim();
  const rated = (value) => (value == null ? NOTHING : value > 0 && value < 0.005 ? "<0.01" : count(value));
  const share = (value) => (value == null ? NOTHING : `${(value * 100).toFixed(value >= 0.9995 || value === 0 ? 0 : 1)} %`);
  function size(bytes) {
    return bytes >= 1073741824 ? [figures(bytes / 1073741824), "GiB"] : [count(bytes / 1048576), "MiB"];
  }
  function long(seconds) {
    if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
  }
  const exact = (seconds) => (seconds >= 1 ? `${+seconds.toFixed(3)} s` : `${+(seconds * 1e3).toFixed(3)} ms`);
  const percent = (target) => `${+(target * 100).toFixed(4)} %`;

  // ---- elements

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child != null));
    return element;
  }
  const say = (element, text) => element.textContent !== text && (element.textContent = text);

  /** Whether somebody has marked text in there, which replacing it would undo. */
  function marked(element) {
    const selection = getSelection();
    return selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  }

  // ---- the figures of now

  const TILES = [
    ["rate", "Requests", (p) => [rated(p.rate), "/s"], (p, s) => `${count(p.active)} in flight`],
    ["errors", "Errors", (p) => [rated(p.errors), "/s"], (p) => (p.rate ? `${share(p.errors / p.rate)} of all` : "5xx"), (p) => p.errors > 0],
    ["p50", "Latency p50", (p) => time(p.p50), (p) => `p90 ${timed(p.p90)}`],
    ["p99", "Latency p99", (p) => time(p.p99), (p, s) => promised(s), (p, s) => overPromise(p, s)],
    ["burn", "Budget burn", (p, s) => [worst(s) == null ? NOTHING : count(worst(s)), worst(s) == null ? "" : "×"], (p, s) => worstName(s), (p, s) => worst(s) > 1],
    ["lag", "Event loop lag", (p) => time(p.blocked || p.lag), (p, s) => `${count(s.tasks)} tasks`, (p) => (p.blocked || p.lag) > 0.1],
    ["cpu", "CPU", (p) => [(p.cpu * 100).toFixed(0), "%"], () => "of one core", (p) => p.cpu > 0.95],
    ["memory", "Memory", (p) => size(p.memory), (p) => `GC ${share(p.collecting)} of time`],
  ];
  const tiles = {};

  function promise(sample) {
    const all = sample.objectives.filter((one) => one.threshold && /^all .*requests$/.test(one.of));
    return all.length ? all.reduce((a, b) => (b.threshold < a.threshold ? b : a)) : null;
  }
  function promised(sample) {
    const one = promise(sample);
    return one ? `promised ${exact(one.threshold)}` : "of one second";
  }
  function overPromise(point, sample) {
    const one = promise(sample);
    return !!one && one.target >= 0.99 && point.p99 > one.threshold;
  }
  function burning(sample) {
    const known = sample.objectives.filter((one) => one.burn != null);
    return known.length ? known.reduce((a, b) => (b.burn > a.burn ? b : a)) : null;
  }
  const worst = (sample) => (burning(sample) ? burning(sample).burn : null);
  function worstName(sample) {
    if (!sample.objectives.length) return "no objectives";
    return burning(sample) ? burning(sample).name : "no events yet";
  }

  function buildTiles() {
    for (const [key, label] of TILES) {
      const value = make("div", { class: "value" });
      const sub = make("div", { class: "sub" });
      const tile = make("div", { class: "tile", id: `tile-${key}` }, make("div", { class: "label" }, label), value, sub);
      tiles[key] = { tile, value, sub };
      $("tiles").append(tile);
    }
  }
  function drawTiles(point, sample) {
    for (const [key, , value, sub, over] of TILES) {
      const [number, unit] = value(point, sample);
      const { tile, value: place, sub: below } = tiles[key];
      place.replaceChildren(number, make("span", { class: "unit" }, unit));
      say(below, sub(point, sample));
      below.title = below.textContent;
      tile.classList.toggle("over", !!(over && over(point, sample)));
    }
  }

  // ---- charts

  const MS = (value) => (value == null ? NOTHING : timed(value / 1e3));
  const CHARTS = [
    { id: "requests", first: true, title: "Requests a second", series: [["requests", "rate", "--a", rated], ["errors", "errors", "--bad", rated]] },
    { id: "latency", first: true, title: "Latency", scale: 1e3, unit: "ms", lines: true, series: [["p50", "p50", "--a", MS], ["p90", "p90", "--b", MS], ["p99", "p99", "--c", MS]] },
    { id: "lag", title: "Event loop lag", scale: 1e3, unit: "ms", series: [["p99", "lag", "--a", MS], ["blocked", "blocked", "--bad", MS]] },
    { id: "cpu", title: "CPU and garbage collection", scale: 100, unit: "%", series: [["CPU", "cpu", "--a", (v) => `${v.toFixed(0)} %`], ["GC", "collecting", "--c", (v) => `${v.toFixed(1)} %`]] },
    { id: "calls", title: "gRPC calls a second", when: (s) => s.answered.length || s.called.length, series: [["answered", "answered", "--a", rated], ["called", "called", "--b", rated]] },
    { id: "messages", title: "Messages", when: (s) => s.consumers.length, series: [["handled a second", "handled", "--a", rated], ["waiting", "lag_messages", "--c", rated]] },
    { id: "cache", title: "Cache hits", scale: 100, unit: "%", when: (s) => s.caches.length, most: 100, series: [["hits", "hit", "--a", (v) => (v == null ? NOTHING : `${v.toFixed(1)} %`)]] },
  ];
  /** A colour of the style sheet for a canvas, which takes no variables: `rgb(1, 2, 3)`. */
  function colour(name) {
    $("probe").style.color = `var(${name})`;
    return getComputedStyle($("probe")).color;
  }
  const pale = (name) => colour(name).replace("rgb(", "rgba(").replace(")", ", 0.12)");
  const column = (name) => state.points.map((point) => point[FIELDS.indexOf(name)]);

  function buildChart(chart) {
    const legend = make("ul", { class: "legend" });
    const plot = make("div", { class: "plot", role: "img", "aria-label": chart.title });
    const title = make("h2", null, make("span", { id: `h-${chart.id}` }, chart.title));
    const card = make("section", { class: "card", id: `chart-${chart.id}`, "aria-labelledby": `h-${chart.id}`, hidden: !!chart.when }, title, legend, plot);
    $(chart.first ? "charts" : "more-charts").append(card);
    Object.assign(chart, { card, legend, plot });
    chart.values = chart.series.map(([label, , name]) => {
      const value = make("b");
      const dot = make("i", { "data-colour": name });
      legend.append(make("li", null, dot, label, value));
      return { value, dot };
    });
    chart.promise = make("small", { hidden: true }, make("i", { class: "dash" }), make("span"));
    title.append(chart.promise);
    new ResizeObserver(() => chart.drawn && chart.drawn.setSize(extent(chart))).observe(plot);
  }
  const extent = (chart) => ({ width: Math.max(50, chart.plot.clientWidth), height: 170 });

  function plotted(chart) {
    if (chart.drawn) chart.drawn.destroy();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    chart.values.forEach(({ dot }, at) => (dot.style.background = colour(chart.series[at][2])));
    chart.drawn = new uPlot({
      ...extent(chart),
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "hasten" }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
      scales: { x: { time: true, range: (_, from, to) => span(to) }, y: { range: (_, from, to) => [0, ceiling(chart, to)] } },
      axes: [
        { ...axis, space: 70, size: 22, gap: 4, values: (plot, at) => at.map((value) => (nearEnd(plot, value) ? "" : clock(value))) },
        { ...axis, size: 48, space: 34, values: (_, at) => at.map((value) => axisText(value, chart.unit)) },
      ],
      series: [{}, ...chart.series.map(([label, , name], at) => ({
        label, stroke: colour(name), width: 1.75, points: { show: false }, spanGaps: false,
        fill: at === 0 ? pale(name) : undefined,
      }))],
      hooks: { setCursor: [() => legend(chart)], draw: [(plot) => drawPromises(chart, plot)] },
    }, [[], ...chart.series.map(() => [])], chart.plot);
  }
  const clock = (at) => new Date(at * 1000).toTimeString().slice(0, 8);
  const nearEnd = ({ scales: { x } }, value) => x.max - value < (x.max - x.min) * 0.06; // where a label would be cut
  const axisText = (value, unit) => (unit === "ms" && value >= 1000 ? `${+(value / 1000).toFixed(2)} s` : `${+value.toFixed(2)}${unit ? " " + unit : ""}`);
  function span(to) {
    const first = state.points.length ? state.points[0][0] : to;
    return [Math.min(to - 60, Math.max(first, to - KEPT)), to];
  }
  /** The upper end of an axis: the promise is in sight if the values are anywhere near. */
  function ceiling(chart, most) {
    if (chart.most) return chart.most;
    let top = most > 0 ? most * 1.12 : 1;
    for (const { value } of promises(chart)) if (value <= top * 4) top = Math.max(top, value * 1.12);
    return top;
  }
  function promises(chart) {
    if (!chart.lines || !state.sample) return [];
    const routes = state.sample.objectives.filter((one) => one.threshold && !one.of.startsWith("/") && /^(all |[A-Z]+ \/|\/)/.test(one.of));
    return [...new Map(routes.map((one) => [one.threshold, { value: one.threshold * 1e3, name: one.name }])).values()];
  }
  function drawPromises(chart, plot) {
    const { ctx, bbox } = plot;
    for (const { value } of promises(chart)) {
      const y = plot.valToPos(value, "y", true);
      if (y < bbox.top) continue;
      ctx.save();
      ctx.strokeStyle = colour("--bad");
      ctx.lineWidth = 1.25 * devicePixelRatio;
      ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.restore();
    }
  }
  function legend(chart) {
    const data = chart.drawn.data;
    const under = chart.drawn.cursor.idx;
    const at = under == null ? data[0].length - 1 : under;
    chart.series.forEach(([, , , format], number) => {
      const value = data[number + 1][at];
      say(chart.values[number].value, value == null ? NOTHING : format(value));
    });
    const lines = promises(chart);
    chart.promise.hidden = !lines.length;
    const above = ({ value }) => value > chart.drawn.scales.y.max;
    say(chart.promise.lastChild, "promised " + lines.map((one) => `${exact(one.value / 1e3)} ${one.name}${above(one) ? " (above)" : ""}`).join(", "));
  }
  function drawCharts(sample) {
    const times = column("at");
    // A hole in time, as a restart leaves one, is a hole in the line
    const holes = times.map((at, number) => (number && at - times[number - 1] > 3 ? number : 0)).filter(Boolean);
    const pierced = (values, filler) => {
      const copy = values.slice();
      for (const at of holes.slice().reverse()) copy.splice(at, 0, filler(at));
      return copy;
    };
    for (const chart of CHARTS) {
      chart.card.hidden = !!chart.when && !chart.when(sample);
      if (chart.card.hidden) continue;
      if (!chart.drawn) plotted(chart);
      const scale = chart.scale || 1;
      const series = chart.series.map(([, name]) => pierced(column(name).map((value) => (value == null ? null : value * scale)), () => null));
      chart.drawn.setData([pierced(times, (at) => times[at] - 1), ...series]);
      legend(chart);
      const said = chart.series.map(([label], number) => `${label} ${chart.values[number].value.textContent}`);
      chart.plot.setAttribute("aria-label", `${chart.title}: ${said.join(", ")}`);
    }
  }

  // ---- where the time goes

  const KINDS = {
    waiting: "at an await, for something outside", blocking: "a blocking call on the event loop", queued: "ready, waiting for its turn on the loop",
    computing: "own code on the CPU", cache: "in a cache", held: "another's step held the loop", "thread-queued": "for a free thread",
    thread: "in a thread", unread: "in the kernel, before it was read", collecting: "garbage collection", preempted: "the kernel ran something else",
    unexplained: "no record says what",
  };
  const sum = (kinds) => Object.values(kinds).reduce((a, b) => a + b, 0);

  function drawTime(sample) {
    const place = $("time");
    if (marked(place)) return;
    if (!sample.shares.length) {
      place.replaceChildren(make("p", { class: "none" }, "No request was recorded in the last 10 s. One in 20 is by default."));
      return;
    }
    const rows = sample.shares.map((one, number) => {
      const whole = sum(one.kinds);
      const parts = Object.entries(one.kinds);
      const told = parts.slice(0, 4).map(([kind, seconds]) => `${kind} ${share(seconds / whole)}`).join(", ");
      const bar = make("span", { class: number ? "bar" : "bar tall", role: "img", "aria-label": told });
      for (const [kind, seconds] of parts) {
        const part = make("span", { class: `k-${kind}`, title: `${kind}: ${timed(seconds)}, ${share(seconds / whole)}` });
        part.style.flexGrow = String((100 * seconds) / whole); // sums below 1 would leave a rest
        bar.append(part);
      }
      const name = number ? one.endpoint || "(no route)" : "all requests";
      return make("div", { class: "row" }, make("span", { class: number ? "name" : "name all", title: name }, name), bar, make("span", { class: "whole" }, timed(whole)));
    });
    const all = sample.shares[0];
    const legend = make("ul", { class: "legend" }, ...Object.entries(all.kinds).filter(([, seconds]) => seconds >= sum(all.kinds) / 1000).map(([kind, seconds]) =>
      make("li", { title: KINDS[kind] || "" }, make("i", { class: `k-${kind}` }), kind, make("b", null, `${timed(seconds)} · ${share(seconds / sum(all.kinds))}`))));
    place.replaceChildren(make("div", { class: "stack" }, ...rows), legend);
  }

  // ---- tables

  const bad = (text, when, title) => ({ text, bad: when, title });
  const p99 = (row) => ({ text: timed(row.p99), of: row.threshold ? ` / ${exact(row.threshold)}` : "", bad: row.threshold > 0 && row.p99 > row.threshold });
  const failed = (row) => bad(rated(row.failed), row.failed > 0);
  const meter = (text, value) => ({ text, meter: value });
  const TIMED = [["a second", (r) => rated(r.rate), (r) => r.rate], ["failed", failed, (r) => r.failed], ["p50", (r) => timed(r.p50), (r) => r.p50 || 0], ["p90", (r) => timed(r.p90), (r) => r.p90 || 0], ["p99", p99, (r) => r.p99 || 0]];
  const BUSY = ["in flight", (r) => rated(r.busy), (r) => r.busy];
  const TABLES = [
    { id: "routes", upFront: true, title: "Routes", small: "last 10 s, the busiest first", wide: true, first: "route", rows: (s) => s.routes, columns: [...TIMED, BUSY], sort: 5, more: (s) => s.routes_more, empty: "No request has ended in the last 10 s." },
    { id: "objectives", upFront: true, title: "Objectives", small: "last 5 min", wide: true, first: "objective", rows: (s) => s.objectives, columns: [
      ["of", (o) => o.of], ["promised", (o) => (o.threshold ? `${percent(o.target)} in ${exact(o.threshold)}` : `${percent(o.target)} without failure`)],
      ["events", (o) => count(o.events)], ["bad", (o) => bad(count(o.bad), o.bad > 0)],
      ["good", (o) => (o.events ? share(1 - o.bad / o.events) : NOTHING)],
      ["burn", (o) => bad(o.burn == null ? NOTHING : `${count(o.burn)} ×`, o.burn > 1, "times as fast as the budget allows")]] },
    { id: "answered", title: "gRPC methods, answered", first: "method", rows: (s) => s.answered, columns: TIMED },
    { id: "called", title: "gRPC methods, called", first: "method", rows: (s) => s.called, columns: TIMED },
    { id: "consumers", title: "Messages, handled", wide: true, first: "topic and group", rows: (s) => s.consumers, columns: [...TIMED,
      ["waited p99", (r) => timed(r.waited)], ["waiting", (r) => (r.waiting == null ? NOTHING : count(r.waiting))], ["retried", (r) => rated(r.retried)],
      ["dead", (r) => bad(r.dead == null ? NOTHING : count(r.dead), r.dead > 0)]] },
    { id: "published", title: "Messages, published", first: "topic", rows: (s) => s.published, columns: TIMED },
    { id: "outboxes", title: "Outboxes", first: "table", rows: (s) => s.outboxes, columns: [["waiting", (r) => count(r.waiting)], ["oldest", (r) => timed(r.oldest)]] },
    { id: "caches", title: "Caches", wide: true, first: "cache and region", rows: (s) => s.caches, columns: [["lookups a second", (r) => rated(r.rate)], ["hits", (r) => meter(share(r.hit), r.hit || 0)],
      ["stale", (r) => rated(r.stale)], ["loads", (r) => rated(r.loads)], ["failed", failed], ["load p99", (r) => timed(r.p99)]] },
    { id: "pools", title: "Threads and connections", first: "pool", rows: (s) => s.pools, columns: [["in use", (r) => meter(`${count(r.used)} of ${count(r.limit)}`, r.limit ? r.used / r.limit : 0)], ["waiting", (r) => bad(count(r.waiting), r.waiting > 0)]] },
    { id: "dependencies", title: "Breakers", first: "breaker", rows: (s) => s.dependencies, columns: [["state", (r) => bad(r.state, r.state !== "closed")], ["opened", (r) => count(r.opened)], ["refused a second", (r) => rated(r.refused)]] },
    { id: "checks", title: "Readiness", first: "check", rows: (s) => s.checks, columns: [["state", (c) => bad(c.ok ? "ok" : c.required ? "not ready" : "fails", !c.ok)], ["reason", (c) => c.reason]] },
  ];

  function buildTable(table) {
    const sorts = table.columns.some((one) => one[2]);
    const heads = table.columns.map(([label, , by], at) => {
      if (!sorts || table.sort == null || !by) return make("th", { scope: "col" }, label);
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", () => {
        table.up = table.sort === at ? !table.up : false;
        table.sort = at;
        order(table);
        if (state.sample) drawTable(table, state.sample);
      });
      return make("th", { scope: "col" }, button);
    });
    table.heads = heads;
    table.body = make("tbody");
    table.note = make("p", { class: "none", hidden: true });
    const title = make("h2", { id: `h-${table.id}` }, table.title, table.small ? make("small", null, table.small) : null);
    const whole = make("table", { "aria-labelledby": `h-${table.id}` }, make("thead", null, make("tr", null, make("th", { scope: "col" }, table.first), ...heads)), table.body);
    table.scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": `h-${table.id}` }, whole);
    table.card = make("div", { class: table.wide ? "card wide" : "card", id: `table-${table.id}` }, title, table.scroll, table.note);
    $(table.upFront ? "first-tables" : "tables").append(table.card);
    order(table);
  }
  function order(table) {
    if (table.sort == null) return;
    table.heads.forEach((head, at) => {
      if (at === table.sort) head.setAttribute("aria-sort", table.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  }
  function cell(shown) {
    const { text, bad: isBad, of, title, meter: filled } = typeof shown === "string" ? { text: shown } : shown;
    const element = make("td", { class: isBad ? "bad" : null, title }, text, of ? make("span", { class: "of" }, of) : null);
    if (filled != null) {
      const fill = make("span");
      fill.style.width = `${Math.min(100, filled * 100)}%`;
      element.append(make("span", { class: "meter", "aria-hidden": "true" }, fill));
    }
    return element;
  }
  function drawTable(table, sample) {
    let rows = table.rows(sample);
    table.card.hidden = !rows.length && !table.empty;
    if (table.card.hidden || marked(table.body)) return;
    if (table.sort != null) {
      const by = table.columns[table.sort][2];
      rows = rows.slice().sort((a, b) => (table.up ? by(a) - by(b) : by(b) - by(a)));
    }
    table.body.replaceChildren(...rows.map((row) =>
      make("tr", null, make("th", { scope: "row", title: row.name }, row.name), ...table.columns.map(([, shown]) => cell(shown(row))))));
    const more = table.more ? table.more(sample) : 0;
    table.note.hidden = rows.length > 0 && !more;
    table.scroll.hidden = !rows.length;
    say(table.note, rows.length ? `and ${more} more` : table.empty || "");
  }

  /** A site with its file's name alone, since the line and the function are what tells most. */
  const brief = (site) => site.replace(/^.*\/(?=[^/]*:\d+)/, "");

  function drawSites(sample) {
    const place = $("sites");
    if (marked(place)) return;
    if (!sample.sites.length) {
      place.replaceChildren(make("p", { class: "none" }, "Nothing has."));
      return;
    }
    const now = sample.point[0];
    const rows = sample.sites.slice(0, 8).map((one) => make("tr", null,
      make("th", { scope: "row", title: one.site }, brief(one.site)),
      make("td", null, count(one.count)), make("td", null, timed(one.seconds)), make("td", null, timed(one.count ? one.seconds / one.count : null)),
      make("td", { class: one.last && now - one.last < 10 ? "bad" : null }, one.last ? `${long(now - one.last)} ago` : "before")));
    const heads = ["line and function", "times", "in all", "each", "last"].map((text) => make("th", { scope: "col" }, text));
    const old = place.querySelector(".scroll");
    const whole = make("table", { "aria-labelledby": "h-sites" }, make("thead", null, make("tr", null, ...heads)), make("tbody", null, ...rows));
    if (old) old.replaceChildren(whole); // keeps where it is scrolled to, and the focus
    else place.replaceChildren(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lines that blocked the event loop" }, whole));
  }

  // ---- the head

  function drawHead(sample) {
    const service = sample.service || "app";
    say($("service"), service);
    say($("about"), `hasten live · worker ${sample.worker} · up ${long(sample.point[0] - sample.started)}`);
    const waits = sample.checks.filter((check) => !check.ok && check.required);
    const ready = $("ready");
    ready.hidden = false;
    ready.className = waits.length ? "pill bad" : "pill good";
    say(ready, waits.length ? `Not ready: ${waits[0].name}${waits.length > 1 ? ` +${waits.length - 1}` : ""}` : "Ready");
    const point = named(sample.point);
    document.title = `${rated(point.rate)}/s · p99 ${timed(point.p99)} · ${service}`;
  }
  const named = (point) => Object.fromEntries(FIELDS.map((field, at) => [field, point[at]]));

  /** Runs each tenth of a second: what counts up between two samples. */
  function tick() {
    const silent = (performance.now() - state.heard) / 1000;
    const sample = state.sample;
    const blocked = sample ? named(sample.point).blocked : 0;
    const shown = !state.lost && blocked >= SHOWN_FROM;
    $("blocked").hidden = !shown;
    if (shown) {
      say($("blocked-for"), `for ${(blocked + (performance.now() - state.arrived) / 1000).toFixed(1)} s`);
      say($("blocked-at"), sample.blocked_at ? `at ${sample.blocked_at}` : "");
    }
    if (silent > SILENT_AFTER && !state.lost) lose();
    $("lost").hidden = !state.lost;
    if (state.lost && state.arrived) say($("lost-for"), `Last figures ${long((performance.now() - state.arrived) / 1000)} ago.`);
  }
  function tell() {
    const pill = $("state");
    pill.className = state.lost || state.paused ? "pill warn" : "pill good";
    say(pill, state.lost ? "Reconnecting" : state.paused ? "Paused" : "Live");
  }

  // ---- drawing

  let asked = false;
  function draw() {
    asked = false;
    const sample = state.sample;
    if (!sample || state.paused) return;
    drawHead(sample);
    drawTiles(named(sample.point), sample);
    drawCharts(sample);
    drawTime(sample);
    drawSites(sample);
    for (const table of TABLES) drawTable(table, sample);
  }
  function drawSoon() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw); // a hidden tab draws nothing until it is looked at
  }

  // ---- the server's side

  function take(points, sample) {
    const last = state.points.length ? state.points[state.points.length - 1][0] : 0;
    state.points.push(...points.filter((point) => point[0] > last));
    state.points.splice(0, Math.max(0, state.points.length - KEPT));
    if (sample) {
      state.sample = sample;
      state.arrived = performance.now();
    }
    drawSoon();
  }
  function heard() {
    state.heard = performance.now();
    state.retry = 1;
    if (state.lost || !state.source.announced) {
      state.lost = false;
      state.source.announced = true;
      tell();
    }
  }
  function connect() {
    const last = state.points.length ? state.points[state.points.length - 1][0] : 0;
    const source = new EventSource(`live?after=${last}`);
    state.source = source;
    state.heard = performance.now();
    source.addEventListener("story", (event) => {
      const told = JSON.parse(event.data);
      heard();
      take(told.points, told.sample);
    });
    source.addEventListener("sample", (event) => {
      const sample = JSON.parse(event.data);
      heard();
      take([sample.point], sample);
    });
    source.addEventListener("error", () => source === state.source && lose());
  }
  /** Tries again, at first after a second, in the end each five; a new token is asked for by the page itself. */
  function lose() {
    state.source.close();
    state.lost = true;
    state.heard = performance.now();
    tell();
    const again = state.source;
    setTimeout(async () => {
      if (again !== state.source) return;
      const answer = await fetch("history?after=1e12").catch(() => null);
      if (answer && answer.status === 401) location.reload();
      connect();
    }, state.retry * 1000);
    state.retry = Math.min(5, state.retry * 1.5);
  }

  // ---- the buttons

  const THEMES = ["system", "dark", "light"];
  function theme(name) {
    state.theme = name;
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    say($("theme"), `Theme: ${name}`);
    recolour();
  }
  function recolour() {
    for (const chart of CHARTS) if (chart.drawn) plotted(chart);
    drawSoon();
  }
  function kept() {
    try { return localStorage.getItem("hasten-theme") || "system"; } catch { return "system"; }
  }
  function keep(name) {
    try { localStorage.setItem("hasten-theme", name); } catch { /* a private window: the choice ends with it */ }
  }
  $("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length];
    keep(next);
    theme(next);
  });
  $("pause").addEventListener("click", () => {
    state.paused = !state.paused;
    $("pause").setAttribute("aria-pressed", String(state.paused));
    say($("pause"), state.paused ? "Resume" : "Pause");
    tell();
    drawSoon();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

  buildTiles();
  CHARTS.forEach(buildChart);
  TABLES.forEach(buildTable);
  theme(THEMES.includes(kept()) ? kept() : "system");
  state.arrived = performance.now();
  take(story.points, story.sample);
  draw();
  connect();
  setInterval(tick, 100);
})();

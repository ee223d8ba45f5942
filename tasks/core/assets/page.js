// The script of the evaluation page: sorts, filters, redraws and copies. It writes text, never markup.
"use strict";
(() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg", MINUS = "\u2212", FIRST = 50, WIDTH = 140, INSET = 6;
  const collator = new Intl.Collator("en", { numeric: true });
  document.documentElement.classList.add("live");

  // ---- elements and numbers: figure, signed, whole and interval write as page_figures.py does

  function make(name, attributes, ...children) {
    const found = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) if (value !== "" && value != null) found.setAttribute(key, value);
    found.append(...children.filter((child) => child !== "" && child != null));
    return found;
  }
  function shape(name, attributes, ...children) {
    const found = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    found.append(...children);
    return found;
  }
  const formats = [0, 1, 2, 3].map((digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  const grouped = (size, digits) => formats[digits].format(size);
  function figure(value) {
    if (value == null) return "–";
    const size = Math.abs(value);
    let text;
    if (size > 0 && size < 0.0005) {
      const [digits, power] = size.toExponential(1).split("e");
      text = `${digits}e${MINUS}${Math.abs(Number(power))}`;
    } else text = grouped(size, size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0);
    return value < 0 ? MINUS + text : text;
  }
  const signed = (value) => (value > 0 ? "+" : "") + figure(value);
  const whole = (value) => (value == null ? "–" : grouped(value, Number.isInteger(value) ? 0 : 1));
  const interval = (low, high, write = figure) => (low == null || high == null ? "–" : `${write(low)} to ${write(high)}`);
  const arrow = (value, centre) => (value == null || centre == null || value === centre ? "" : value > centre ? "▲" : "▼");

  // ---- order: numbers by size, words by the alphabet, what is not known last

  function compare(one, two, down) {
    const gone = (value) => value == null || value === "" || value === "–";
    if (gone(one) || gone(two)) return gone(one) - gone(two);
    const order = typeof one === "number" && typeof two === "number" ? one - two : collator.compare(one, two);
    return down ? -order : order;
  }
  function mark(headers, sort) {
    for (const header of headers) {
      const here = sort && header.dataset.key === sort.key;
      header.setAttribute("aria-sort", here ? (sort.down ? "descending" : "ascending") : "none");
    }
  }
  function turned(sort, header) {
    const key = header.dataset.key;
    if (sort && sort.key === key) return { key, down: !sort.down };
    return { key, down: header.classList.contains("number") };
  }

  // ---- the table of gaps: its rows are all there, and are hidden or put in another order

  for (const table of document.querySelectorAll("table.sortable")) {
    const headers = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    let sort = null;
    table.tHead.addEventListener("click", (event) => {
      const header = event.target.closest("th[data-key]");
      if (!header) return;
      sort = turned(sort, header);
      const place = headers.indexOf(header);
      const value = (row) => {
        const cell = row.cells[place];
        return "value" in cell.dataset ? (cell.dataset.value === "" ? null : Number(cell.dataset.value)) : cell.textContent.trim();
      };
      const rows = [...body.rows].map((row) => [value(row), row]).sort((one, two) => compare(one[0], two[0], sort.down));
      body.replaceChildren(...rows.map((pair) => pair[1]));
      mark(headers, sort);
    });
  }
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const rows = [...byId(input.dataset.filters).tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const said = input.closest("div").querySelector("output");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      said.textContent = words.length ? `${shown} of ${rows.length}` : "";
    });
  }

  // ---- cohorts by metrics: rows in the document show all metrics; rows of one metric are made from the data

  const table = byId("cohort-table"), body = table.tBodies[0], form = byId("filters"), more = byId("more");
  const allRows = [...body.rows], allHeaders = [...table.tHead.rows[0].cells];
  const names = D.cohorts.map((name) => name.toLowerCase()), overall = D.cohorts.indexOf("overall");
  let sort = null, limit = FIRST, shown = [];

  const metric = () => (form.elements.metric.value === "" ? null : Number(form.elements.metric.value));
  const word = (kind, place, cohort) =>
    kind === "change" ? D.words.change[D.change.verdict[place][cohort]] : D.words[kind][D[kind][place][cohort]];

  function chosen() {
    const at = form.elements, words = at.query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = at.kind.value, least = Number(at.least.value) || 0, one = metric();
    const [about, wanted] = at.standing.value.split(":");
    const places = one == null ? D.metrics.map((_, place) => place) : [one];
    return names.flatMap((name, cohort) =>
      words.every((part) => name.includes(part)) &&
      (!kind || D.kinds[cohort] === kind) &&
      (!least || D.n[cohort] >= least) &&
      (!wanted || places.some((place) => word(about, place, cohort) === wanted)) ? [cohort] : []);
  }
  function key(cohort) {
    const [name, place] = sort.key.split(":");
    if (place != null) {
      const grid = name.startsWith("change_") ? D.change[name.slice(7)] : D[name];
      return ["verdict", "standing", "change_verdict"].includes(name) ? word(name.replace("_verdict", ""), place, cohort) : grid[place][cohort];
    }
    return { name: D.cohorts, kind: D.kinds, n: D.n }[name][cohort];
  }
  function drawing(place, cohort, scale, hollow) {
    const at = (value) => INSET + ((value - scale[0]) / (scale[1] - scale[0])) * (WIDTH - 2 * INSET);
    const value = D.value[place][cohort], low = D.low[place][cohort], high = D.high[place][cohort];
    const found = shape("svg", { class: "interval", width: WIDTH, height: 18, viewBox: "0 0 140 18", role: "img", "aria-label": `${figure(value)}, ${interval(low, high)}` });
    const centre = D.value[place][overall];
    if (centre != null) found.append(shape("line", { class: "reference", x1: at(centre), x2: at(centre), y1: 0, y2: 18 }));
    if (low != null && high != null) found.append(shape("line", { class: "whisker", x1: at(low), x2: at(high), y1: 9, y2: 9 }));
    if (value != null) found.append(shape("circle", { class: hollow ? "hollow" : "dot", cx: at(value), cy: 9, r: 4.5 }));
    return found;
  }
  function header(name, place, text, number) {
    return make("th", { scope: "col", "aria-sort": "none", "data-key": place == null ? name : `${name}:${place}`, class: number ? "number" : "" }, make("button", { type: "button" }, text));
  }
  function headersOf(place) {
    const found = [header("name", null, "cohort"), header("kind", null, "kind"), make("th", { scope: "col", class: "drawn" }, "95 % interval, dotted: overall"),
      header("value", place, D.metrics[place], true), header("standing", place, "against the whole"),
      header("n", null, "rows", true), header("support", place, "support", true), header("verdict", place, "verdict")];
    if (D.change) found.push(header("change_baseline", place, "baseline", true), header("change_delta", place, "change", true),
      header("change_verdict", place, "in a word"), header("change_btc", place, "BTC", true), header("change_bec", place, "BEC", true));
    return found;
  }
  function rowOf(place, cohort, scale) {
    const grid = (name) => D[name][place][cohort], cell = (text, number, small) => make("td", { class: number ? "number" : "" }, text, small ? make("small", {}, small) : "");
    const value = grid("value"), standing = word("standing", place, cohort), verdict = word("verdict", place, cohort);
    const found = make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, D.cohorts[cohort])), cell(D.kinds[cohort]),
      make("td", { class: "drawn" }, drawing(place, cohort, scale, verdict !== "ok")), cell(figure(value), true, interval(grid("low"), grid("high"))),
      make("td", {}, standing ? make("b", { class: standing }, `${arrow(value, D.value[place][overall])} ${standing}`) : ""),
      cell(whole(D.n[cohort]), true), cell(whole(grid("support")), true), cell(verdict));
    if (D.change) {
      const part = (name) => D.change[name][place][cohort], change = word("change", place, cohort);
      found.append(cell(figure(part("baseline")), true), cell(signed(part("delta")), true, interval(part("low"), part("high"), signed)),
        make("td", {}, make("span", { class: change === "no evidence" ? "quiet" : change }, change === "no evidence" ? change : `${arrow(part("delta"), 0)} ${change}`)),
        cell(figure(part("btc")), true), cell(figure(part("bec")), true));
    }
    return found;
  }
  function scaleOf(place) {
    const found = [...D.low[place], ...D.high[place], ...D.value[place]].filter((value) => value != null);
    const low = found.reduce((a, b) => Math.min(a, b), Infinity), high = found.reduce((a, b) => Math.max(a, b), -Infinity);
    return high > low ? [low, high] : [low - 0.5, low + 0.5];
  }
  let headed = null, headers = allHeaders;
  function draw() {
    const place = metric(), rows = shown.slice(0, limit);
    if (headed !== place) {
      headers = place == null ? allHeaders : headersOf(place);
      table.tHead.rows[0].replaceChildren(...headers);
      headed = place;
    }
    const scale = place == null ? null : scaleOf(place);
    body.replaceChildren(...rows.map((cohort) => (place == null ? allRows[cohort] : rowOf(place, cohort, scale))));
    mark(headers.filter((one) => one.dataset.key), sort);
    byId("count").textContent = `${grouped(shown.length, 0)} of ${grouped(names.length, 0)} cohorts${rows.length < shown.length ? `, the first ${rows.length} shown` : ""}`;
    more.hidden = rows.length === shown.length;
    more.textContent = `Show all ${grouped(shown.length, 0)}`;
  }
  function update() {
    const place = metric();
    if (sort && sort.key.includes(":")) { // the sorted column stays where the other view has it, and is the metric's own where not
      const [name, of] = sort.key.split(":");
      if (place != null && Number(of) !== place) sort = { key: `${name}:${place}`, down: sort.down };
      if (place == null && name !== "value") sort = null;
    }
    shown = chosen();
    if (sort) shown = shown.map((cohort) => [key(cohort), cohort]).sort((one, two) => compare(one[0], two[0], sort.down)).map((pair) => pair[1]);
    draw();
  }
  form.addEventListener("input", () => { limit = FIRST; update(); });
  form.addEventListener("reset", () => setTimeout(() => { sort = null; limit = FIRST; update(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    limit = Infinity;
    draw();
    table.closest("[tabindex]").focus();
  });
  table.tHead.addEventListener("click", (event) => {
    const header = event.target.closest("th[data-key]");
    if (header) {
      sort = turned(sort, header);
      update();
    }
  });
  update();

  // ---- copying a condition; where there is no clipboard to write to, the condition is selected

  async function copy(code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy") ? "Copied" : "Selected";
    }
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const word = await copy(button.parentElement.querySelector("code"));
      button.textContent = word;
      byId("said").textContent = `Condition ${word.toLowerCase()}`;
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // ---- theme, and what is printed: every row that passes the filters, and every branch

  const themes = ["automatic", "light", "dark"];
  byId("theme").addEventListener("click", (event) => {
    const said = event.currentTarget.querySelector("span");
    const next = themes[(themes.indexOf(said.textContent) + 1) % themes.length];
    said.textContent = next;
    if (next === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
  });
  let before = null;
  addEventListener("beforeprint", () => {
    before = limit;
    limit = Infinity;
    draw();
    for (const branch of document.querySelectorAll(".tree details")) branch.open = true;
  });
  addEventListener("afterprint", () => {
    limit = before;
    draw();
  });
})();

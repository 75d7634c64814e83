"use strict";
// Makes the page live: asks for events, then for the parts that changed, and
// patches the cells that differ. All text is made harmless by the server; what
// is made here is set as text and never as markup.
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, props = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children);
    return element;
  };
  const body = document.body;
  const store = {
    get: (key) => { try { return sessionStorage.getItem(key); } catch { return null; } },
    set: (key, value) => {
      try { value ? sessionStorage.setItem(key, value) : sessionStorage.removeItem(key); } catch { /* private mode */ }
    },
  };

  // Times.

  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const span = (seconds) => {
    const [size, unit] = units.find(([size]) => seconds >= 2 * size) ?? [1, "s"];
    return `${Math.floor(seconds / size)} ${unit}`;
  };
  // By how much this clock is ahead of the server's.
  let ahead = 0;
  const relative = (at) => {
    const seconds = (Date.now() - ahead - at) / 1000;
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  };
  const tellTimes = (within = document) => {
    for (const time of $$("time", within)) {
      if (!time.dateTime) {
        time.dateTime = time.textContent;
        time.title = new Date(time.dateTime).toLocaleString();
      }
      const at = Date.parse(time.dateTime);
      // What is due was perhaps done since this was written.
      const text = time.parentElement.cellIndex === 3 && at < Date.now() - ahead ? "due" : relative(at);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // Tools.

  const tools = $("#tools");
  const search = make("input", { type: "search", id: "search", placeholder: "name or error" });
  const state = make("select", { id: "state" },
    ...[["", "all states"], ["bad", "not ready"], ["r", "ready"], ["g", "degraded"], ["x", "down"]]
      .map(([value, text]) => new Option(text, value)));
  const theme = make("select", { id: "theme" },
    ...["auto", "light", "dark"].map((text) => new Option(text, text)));
  const live = make("span", { id: "live", role: "status" });
  tools.append(
    make("label", {}, "Search ", search), make("label", {}, "Show ", state), make("label", {}, "Theme ", theme), live);

  theme.value = store.get("theme") ?? "auto";
  const setTheme = () => {
    document.documentElement.className = theme.value === "auto" ? "" : theme.value;
    store.set("theme", theme.value);
  };
  theme.addEventListener("change", setTheme);
  setTheme();

  const rows = () => $$("#loops tbody tr[id]");
  const filter = () => {
    const text = search.value.toLowerCase();
    if (text === "" && state.value === "") {
      rows().forEach((row) => { row.hidden = false; });
      return;
    }
    for (const row of rows()) {
      const is = state.value === "" || (state.value === "bad" ? row.className[0] !== "r" : row.classList.contains(state.value));
      row.hidden = !is || !(text === "" || row.textContent.toLowerCase().includes(text));
    }
  };
  search.addEventListener("input", filter);
  state.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      search.focus();
    }
  });

  // Order.

  let order = null;
  const scale = { ms: 1, s: 1000, min: 60000 };
  const ranks = { x: 0, t: 1, u: 2, g: 3, r: 4 };
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent;
    if (column === 1) return ranks[row.className[0]] ?? 5;
    const time = $("time", cell);
    if (time) return Date.parse(time.dateTime || time.textContent);
    const [number, unit] = text.split(" ");
    const parsed = parseFloat(number);
    return column > 2 && column < 7 && !Number.isNaN(parsed) ? parsed * (scale[unit] ?? 1) : text;
  };
  const sort = () => {
    if (!order) return;
    const { column, down } = order;
    for (const group of $$("#loops tbody")) {
      const all = $$("tr[id]", group).map((row) => [value(row, column), row]);
      const sorted = [...all].sort(([a], [b]) =>
        (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })) * (down ? -1 : 1));
      if (sorted.some(([, row], i) => row !== all[i][1])) group.append(...sorted.map(([, row]) => row));
    }
  };
  const heads = $$("#loops thead th");
  heads.slice(0, 7).forEach((head, column) => {
    const button = make("button", { type: "button", textContent: head.textContent });
    button.addEventListener("click", () => {
      order = { column, down: order?.column === column && !order.down };
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      sort();
    });
    head.replaceChildren(button);
  });

  // Events.

  const eventText = make("input", { type: "search", id: "event-search", placeholder: "name or text" });
  const eventKind = make("select", { id: "event-kind" });
  $("#events").before(make("p", {},
    make("label", {}, "Filter events ", eventText), " ", make("label", {}, "Kind ", eventKind)));
  const filterEvents = () => {
    const text = eventText.value.toLowerCase();
    const all = $$("#events tbody tr");
    const kinds = ["", ...new Set(all.map((row) => row.dataset.event).filter(Boolean))].sort();
    if (kinds.join() !== $$("option", eventKind).map((option) => option.value).join()) {
      const chosen = eventKind.value;
      eventKind.replaceChildren(...kinds.map((kind) => new Option(kind || "all", kind)));
      eventKind.value = kinds.includes(chosen) ? chosen : "";
    }
    for (const row of all) {
      row.hidden = (eventKind.value !== "" && row.dataset.event !== eventKind.value)
        || (text !== "" && !row.textContent.toLowerCase().includes(text));
    }
  };
  eventText.addEventListener("input", filterEvents);
  eventKind.addEventListener("change", filterEvents);

  // Actions, for who has the token.

  const told = make("span", { id: "told", role: "status" });
  if (body.dataset.acts === "1") {
    const token = make("input", { type: "password", id: "token", autocomplete: "off", placeholder: "token" });
    const rescan = make("button", { type: "button", id: "rescan", textContent: "Rescan" });
    token.value = store.get("token") ?? "";
    const tokenChanged = () => {
      store.set("token", token.value);
      body.classList.toggle("acts", token.value !== "");
      rescan.hidden = token.value === "";
      buttons();
    };
    const post = async (path) => {
      try {
        const headers = { Authorization: `Bearer ${token.value}` };
        const answer = await fetch(path, { method: "POST", headers, credentials: "omit", cache: "no-store" });
        told.textContent = `${path}: ${answer.ok ? "accepted" : (await answer.text()).trim()}`;
      } catch {
        told.textContent = `${path}: cannot be reached`;
      }
    };
    token.addEventListener("input", tokenChanged);
    rescan.addEventListener("click", () => post("/deploy/rescan"));
    $("#loops").addEventListener("click", (event) => {
      const { act } = event.target.dataset;
      if (act) post(`/${act}/${event.target.closest("tr").id.split("/")[1]}`);
    });
    tools.append(make("label", {}, "Token ", token), rescan);
    const button = (act, text, name) => {
      const made = make("button", { type: "button", textContent: text, ariaLabel: `${text} ${name}` });
      made.dataset.act = act;
      return made;
    };
    var buttons = () => {
      const is = token.value !== "";
      heads.at(-1).parentElement.cells[8]?.remove();
      if (is) heads.at(-1).after(make("th", { scope: "col", textContent: "Actions" }));
      $$("#loops .k th").forEach((head) => { head.colSpan = is ? 9 : 8; });
      for (const row of rows()) {
        let cell = row.cells[8];
        if (!is) {
          cell?.remove();
          continue;
        }
        const name = row.cells[0].textContent;
        if (!cell) {
          cell = make("td", { className: "act" }, button("trigger", "Trigger", name));
          row.append(cell);
        }
        // Only where somebody waits for it, which may come to be so.
        const beat = $("[data-act=heartbeat]", cell);
        if ("beats" in row.dataset && !beat) cell.append(" ", button("heartbeat", "Beat", name));
        else if (!("beats" in row.dataset)) beat?.remove();
      }
    };
    tokenChanged();
  }
  tools.append(told);

  // What changes.

  // As the server wrote it, by row and cell; what was made of it here differs.
  const written = new Map();
  const cellsOf = (row) => [...row.cells].slice(0, 8).map((cell) => cell.innerHTML);
  const remember = () => rows().forEach((row) => written.set(row.id, cellsOf(row)));
  let touched = 0;
  let turned = [];
  // Draws attention anew, with one look at the layout for all of them.
  const freshen = () => {
    turned.forEach((cell) => cell.classList.remove("fresh"));
    if (turned.length) void turned[0].offsetWidth;
    turned.forEach((cell) => cell.classList.add("fresh"));
    turned = [];
  };
  const patchRow = (old, row) => {
    const [before, now] = [written.get(row.id), cellsOf(row)];
    if (old.className !== row.className) {
      old.className = row.className;
      touched += 1;
    }
    old.toggleAttribute("data-beats", row.hasAttribute("data-beats"));
    now.forEach((html, i) => {
      if (before?.[i] === html) return;
      const open = $("details", old.cells[i])?.open;
      old.cells[i].replaceChildren(...row.cells[i].childNodes);
      const details = $("details", old.cells[i]);
      if (open && details) details.open = true;
      if (i === 1) turned.push(old.cells[i]);
      tellTimes(old.cells[i]);
      touched += 1;
    });
    written.set(row.id, now);
  };
  const replace = (old, fresh) => {
    if (old && fresh && old.source !== fresh.outerHTML) {
      const source = fresh.outerHTML;
      const made = document.importNode(fresh, true);
      const folds = $$("details", old).map((details) => details.open);
      $$("details", made).forEach((details, i) => { details.open = folds[i] ?? false; });
      old.replaceChildren(...made.childNodes);
      old.className = made.className;
      old.source = source;
      tellTimes(old);
    }
  };
  const patch = (part, all) => {
    touched = 0;
    const began = performance.now();
    document.title = part.title;
    replace($("#overall"), $("#overall", part));
    replace($("#config"), $("#config", part));
    const table = $("#loops");
    for (const group of $$("#loops tbody", part)) {
      let there = document.getElementById(group.id);
      if (!there || !group.id) {
        if (!group.id) continue;
        there = make("tbody", { id: group.id }, document.importNode(group.rows[0], true));
        $$("tbody:not([id])", table).forEach((empty) => empty.remove());
        table.append(there);
      }
      replace($(".k", there), group.rows[0]);
      for (const row of $$("tr[id]", group)) {
        const old = document.getElementById(row.id);
        if (old) patchRow(old, row);
        else {
          written.set(row.id, cellsOf(row));
          there.append(document.importNode(row, true));
          touched += 1;
        }
      }
    }
    if (all) {
      const left = new Set($$("#loops tr[id]", part).map((row) => row.id));
      rows().filter((row) => !left.has(row.id)).forEach((row) => { row.remove(); written.delete(row.id); touched += 1; });
      $$("#loops tbody").filter((group) => !$("tr[id]", group)).forEach((group) => group.remove());
    }
    const list = $("#events tbody");
    const known = new Set($$("tr", list).map((row) => row.id));
    const news = $$("#events tbody tr", part).filter((row) => row.id && !known.has(row.id));
    if (news.length) {
      $$("tr:not([id]):not(.gap)", list).forEach((row) => row.remove());
      // The part has the newest: what came between is said, not shown.
      const seq = (row) => Number(row.id.slice(1));
      const newest = $("tr[id]", list);
      const between = newest ? seq(news.at(-1)) - seq(newest) - 1 : 0;
      if (between > 0) {
        const text = `${between} more ${between === 1 ? "event" : "events"} before, not shown`;
        list.prepend(make("tr", { className: "gap" }, make("td", { colSpan: 3, textContent: text })));
      }
      list.prepend(...news.map((row) => document.importNode(row, true)));
      $$("tr", list).slice(500).forEach((row) => row.remove());
    }
    freshen();
    if (typeof buttons === "function") buttons();
    tellTimes();
    sort();
    filter();
    filterEvents();
    body.dataset.touched = touched;
    body.dataset.patched = (performance.now() - began).toFixed(1);
  };

  let boot = body.dataset.boot;
  let next = Number(body.dataset.next);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const ask = async (path) => {
    const answer = await fetch(path, { credentials: "omit", cache: "no-store" });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer;
  };
  const refresh = async (names) => {
    const some = names && names.size <= 40;
    const text = await (await ask(some ? `/?part=${[...names].join()}` : "/?part")).text();
    const part = new DOMParser().parseFromString(text, "text/html");
    if (part.body.dataset.boot !== boot) {
      location.reload();
      return;
    }
    patch(part, !some);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(null).catch(() => {}); });
  const say = (text) => { if (live.textContent !== text) live.textContent = text; };
  let wanted = new Set();
  // How old numbers without events may be: a whole look costs with the rows.
  const ticks = Math.min(15000, 3000 + 15 * rows().length);
  let whole = performance.now();
  const follow = async () => {
    for (let [failures, wait] = [0, 0]; ;) {
      try {
        const page = await (await ask(`/events?after=${next}&wait=${wait}ms`)).json();
        wait = ticks;
        if (page.boot !== boot) {
          location.reload();
          return;
        }
        next = page.next;
        page.events.forEach((event) => {
          wanted.add(event.source);
          if (event.component) wanted.add(event.component);
        });
        if (document.hidden) {
          whole = -ticks;
          await pause(1000);
        } else if (page.lost || performance.now() - whole >= ticks - 100 || page.events.some((event) => /deployed|removed|stopped/.test(event.event))) {
          wanted = new Set();
          whole = performance.now();
          await refresh(null);
        } else if (wanted.size) {
          const names = wanted;
          wanted = new Set();
          await refresh(names);
        }
        say("live");
        failures = 0;
        // Many events at once are one look, and most of the time is left to
        // who looks at it.
        if (page.events.length) await pause(Math.max(250, 4 * Number(body.dataset.patched ?? 0)));
      } catch {
        failures += 1;
        say("connection lost, trying again");
        whole = -ticks;
        await pause(Math.min(1000 * 2 ** failures, 15000));
      }
    }
  };

  remember();
  const seen = $("#overall p time:last-of-type")?.textContent;
  if (seen) ahead = Date.now() - Date.parse(seen);
  if (Math.abs(ahead) < 2000) ahead = 0;
  tellTimes();
  filterEvents();
  setInterval(() => { if (!document.hidden) tellTimes(); }, 1000);
  follow();
})();

// Time travel through one entity's history. All of it came over once, so that every move is answered here.
// Whatever comes from the data is set as text, never as markup.

const ROW = 30; // the height of an event in the list, in pixels, as in travel.css
const TALLEST = 8_000_000; // what every browser can still scroll
const PAGE = 10;
const SETTLED = 150; // milliseconds after the last move until others are told of it
const SPEEDS = [1, 2, 5, 10, 25, 100];
const LONGEST = 200_000; // letters of a payload that is broken into lines
const NOTHING = "—";

const ICONS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M11 3v10L4 8z",
  play: "M4 2.5v11L13 8z",
  stop: "M4 3h3v10H4zM9 3h3v10H9z",
  forth: "M5 3v10l7-5z",
  last: "M11 3h2v10h-2zM3 3v10l7-5z",
};

const KINDS = {
  i8: BigInt64Array,
  i4: Int32Array,
  u4: Uint32Array,
  u1: Uint8Array,
};

/** Read what film.py packed: a header and columns of numbers. */
function unpack(packed) {
  // A copy begins at a multiple of eight, as the columns must, wherever the message put the original.
  const bytes = new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength).slice();
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const column = ([kind, offset, count]) => new KINDS[kind](bytes.buffer, 4 + length + offset, count);
  const names = (said) => said && { texts: said.texts, codes: column(said.codes) };
  const track = (said) => ({ moments: column(said.moments), codes: column(said.codes) });
  return {
    ...header,
    position: column(header.position),
    recorded: column(header.recorded),
    revision: column(header.revision),
    ids: column(header.ids),
    stream: names(header.stream),
    type: names(header.type),
    differs: header.differs && column(header.differs),
    sides: header.sides.map((side) => ({
      type: names(side.type),
      outcome: names(side.outcome),
      why: names(side.why),
      origin: names(side.origin),
      there: track(side.there),
    })),
    fields: header.fields.map((field) => ({ ...field, tracks: field.tracks.map(track) })),
  };
}

/** The last change of a track at or before a moment. Moment 0 lies before the first event, i + 1 after event i. */
function place(track, moment) {
  let low = 0;
  let high = track.moments.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (track.moments[middle] <= moment) low = middle;
    else high = middle;
  }
  return low;
}

const codeAt = (track, moment) => track.codes[place(track, moment)];
const isThere = (side, moment) => codeAt(side.there, moment) === 1;
const named = (names, row) => (names && names.codes[row] >= 0 ? names.texts[names.codes[row]] : "");
const grouped = (number) => number.toLocaleString("en-US");

/** What film.py packs as the time of an event whose stamp is no instant. */
const UNDATED = -(2n ** 63n);

/** An instant in microseconds since 1970, as text in UTC, to the millisecond or in full. */
function instant(microseconds, full = false) {
  if (microseconds === UNDATED) return "no instant";
  const text = new Date(Number(microseconds / 1000n)).toISOString().replace("T", " ").replace("Z", "");
  return full ? `${text}${String(((microseconds % 1000n) + 1000n) % 1000n).padStart(3, "0")}Z` : text.slice(0, 19);
}

function uuid(ids, row) {
  const hex = Array.from(ids.subarray(16 * row, 16 * row + 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Make an element: properties, attributes where there is no such property, and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/** JSON with line breaks. Nothing in it is read, so that no digit of a number and no duplicate key is lost. */
function indented(text) {
  if (!/^\s*[[{]/.test(text) || text.length > LONGEST) return text;
  const line = (depth) => `\n${"  ".repeat(Math.max(0, depth))}`;
  let depth = 0;
  return text.replace(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[{\]},:]|\s+/gs, (token) => {
    if (token === "{" || token === "[") return token + line((depth += 1));
    if (token === "}" || token === "]") return line((depth -= 1)) + token;
    if (token === ",") return token + line(depth);
    if (token === ":") return ": ";
    return /^\s/.test(token) ? "" : token;
  });
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let views = 0;

class View {
  constructor(model, element) {
    this.model = model;
    this.film = unpack(model.get("_film"));
    this.id = `wbt-${++views}`;
    this.timers = {};
    this.rows = [];
    this.forked = this.film.sides.length > 1;
    this.build(element);
    this.baseline = model.get("baseline");
    this.show(model.get("index"));
    // Told apart: when the baseline changes, the model may not have been told yet where the viewer is.
    this.listeners = {
      "change:index": () => this.show(model.get("index")),
      "change:baseline": () => {
        this.baseline = model.get("baseline");
        this.show(this.index);
      },
      "msg:custom": (answer) => this.told(answer),
    };
    Object.entries(this.listeners).forEach(([event, listener]) => model.on(event, listener));
    // The list has no height before it is on the page.
    this.watcher = new ResizeObserver(() => this.list(true));
    this.watcher.observe(this.box);
  }

  remove() {
    this.watcher.disconnect();
    Object.entries(this.listeners).forEach(([event, listener]) => this.model.off(event, listener));
    Object.values(this.timers).forEach(clearTimeout);
  }

  // ------------------------------------------------------------------ what is on the page

  build(element) {
    const { film } = this;
    this.root = make("section", { className: "wbt", "aria-label": `Time travel: ${film.title}` });
    this.root.append(this.head(), this.controls(), this.panes(), this.event());
    this.status = make("p", { className: "wbt-hidden", role: "status" });
    this.root.append(this.status);
    this.root.addEventListener("keydown", (event) => this.press(event));
    element.append(this.root);
  }

  head() {
    this.where = make("p", { className: "wbt-where" });
    this.what = make("p", { className: "wbt-what" });
    return make("header", {}, make("strong", { textContent: this.film.title }), this.what, this.where);
  }

  controls() {
    const button = (name, label, act) => {
      const made = make("button", { type: "button", title: label, "aria-label": label, className: "wbt-icon" }, icon(ICONS[name]));
      made.addEventListener("click", act);
      return made;
    };
    const last = this.film.count - 1;
    this.playing = button("play", "Play (space)", () => this.toggle());
    this.slider = make("input", { type: "range", min: 0, max: last, step: 1, "aria-label": "Event" });
    this.slider.addEventListener("input", () => this.move(Number(this.slider.value)));
    this.speed = make("select", { "aria-label": "Events a second", title: "Events a second" });
    for (const speed of SPEEDS) this.speed.append(make("option", { value: speed, textContent: `${speed}/s`, selected: speed === 5 }));
    this.pin = make("button", { type: "button", title: "Compare with this moment from now on (B)", "aria-pressed": "false" });
    this.pin.addEventListener("click", () => this.pinned());
    this.jump = make("input", {
      type: "text", className: "wbt-jump", placeholder: "Time or position", "aria-label": "Go to a time (UTC) or a position",
      title: "2026-03-01, 2026-03-01T09:00Z, or a position; Enter goes there", spellcheck: false,
    });
    this.jump.addEventListener("keydown", (event) => event.key === "Enter" && this.goTo(this.jump.value.trim()));
    this.refused = make("p", { className: "wbt-refused", role: "alert" });
    const bar = make(
      "div", { className: "wbt-bar", role: "group", "aria-label": "Move" },
      button("first", "First event (Home)", () => this.move(0)),
      button("back", "One event back (left)", () => this.move(this.index - 1)),
      this.playing,
      button("forth", "One event forth (right)", () => this.move(this.index + 1)),
      button("last", "Last event (End)", () => this.move(last)),
      this.slider, this.speed, this.jump, this.pin,
    );
    if (this.film.diverged !== null) {
      const part = make("button", { type: "button", textContent: "≠ Where they diverge", title: "The first event after which the two differ" });
      part.addEventListener("click", () => this.move(this.film.diverged));
      bar.append(part);
    }
    return make("div", {}, bar, this.refused);
  }

  panes() {
    this.tall = make("div", { className: "wbt-tall" });
    this.box = make("div", { className: "wbt-list", role: "listbox", tabIndex: 0, "aria-label": "Events" }, this.tall);
    this.height = Math.min(this.film.count * ROW, TALLEST);
    this.tall.style.height = `${this.height}px`;
    this.box.addEventListener("scroll", () => this.list(false));
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-row]");
      if (row) this.move(Number(row.dataset.row));
    });
    this.compared = make("th", { scope: "col" });
    const columns = [make("th", { scope: "col", textContent: "Field" }), make("th", { scope: "col", textContent: this.film.labels[0] })];
    if (this.forked) columns.push(make("th", { scope: "col", textContent: this.film.labels[1] }));
    columns.push(this.compared, make("th", { scope: "col", textContent: "Since (UTC)" }));
    this.cells = this.film.fields.map((field) => this.fieldRow(field));
    this.absent = make("p", { className: "wbt-absent" });
    const table = make(
      "table", {},
      make("caption", { className: "wbt-hidden", textContent: "State after the event" }),
      make("thead", {}, make("tr", {}, ...columns)),
      make("tbody", {}, ...this.cells.map((cells) => cells.row)),
    );
    this.pane = make("div", { className: "wbt-state", role: "region", tabIndex: 0, "aria-label": "State after the event" }, this.absent, table);
    return make("div", { className: "wbt-panes" }, this.box, this.pane);
  }

  event() {
    this.said = make("div", { className: "wbt-said" });
    this.payload = make("details", {}, make("summary", { textContent: "What the event says" }), this.said);
    this.payload.addEventListener("toggle", () => this.ask());
    return this.payload;
  }

  fieldRow(field) {
    const cells = {
      mark: make("span", { className: "wbt-mark" }),
      value: make("td"), fork: make("td"), before: make("td", { className: "wbt-before" }),
      since: make("button", { type: "button", className: "wbt-since", title: "Go to the event that made it so" }),
    };
    cells.since.addEventListener("click", () => {
      const [track] = field.tracks;
      this.move(Math.max(0, track.moments[place(track, this.index + 1)] - 1));
    });
    const name = make("th", { scope: "row" }, make("span", { textContent: field.name }), cells.mark);
    const columns = this.forked ? [cells.value, cells.fork, cells.before] : [cells.value, cells.before];
    cells.row = make("tr", {}, name, ...columns, make("td", {}, cells.since));
    return cells;
  }

  // ------------------------------------------------------------------ moving

  move(index) {
    this.stop();
    this.show(index);
  }

  show(index) {
    this.index = Math.max(0, Math.min(this.film.count - 1, index));
    this.describe();
    this.state();
    this.reveal();
    this.list(true);
    this.later("told", () => {
      if (this.model.get("index") !== this.index) {
        this.model.set("index", this.index);
        this.model.save_changes();
      }
      if (!this.timers.play) say(this.status, this.spoken());
      this.ask();
    });
  }

  later(name, act, milliseconds = SETTLED) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(act, milliseconds);
  }

  press(event) {
    const { target, key } = event;
    // With these, keys are the notebook's and the browser's: save, run, find.
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (target === this.jump || target === this.speed) {
      event.stopPropagation();
      return;
    }
    const onButton = target.tagName === "BUTTON" || target.tagName === "SUMMARY";
    const acts = {
      ArrowRight: () => this.move(this.index + 1), ArrowDown: () => this.move(this.index + 1),
      ArrowLeft: () => this.move(this.index - 1), ArrowUp: () => this.move(this.index - 1),
      PageDown: () => this.move(this.index + PAGE), PageUp: () => this.move(this.index - PAGE),
      Home: () => this.move(0), End: () => this.move(this.film.count - 1),
      b: () => this.pinned(), B: () => this.pinned(),
      // A button that has the focus is pressed by space.
      ...(onButton ? {} : { " ": () => this.toggle() }),
    };
    if (acts[key]) {
      event.preventDefault();
      acts[key]();
    }
    // Escape and Tab leave the widget; no other key reaches the notebook around it, where "x" would cut the cell.
    if (key !== "Escape" && key !== "Tab") event.stopPropagation();
  }

  /** Ask the kernel for what the event says, where that is looked at and is not there yet. */
  ask() {
    if (!this.payload.open || this.asked === this.index) return;
    this.asked = this.index;
    this.said.replaceChildren(make("p", { textContent: "…" }));
    this.model.send({ asks: "payloads", index: this.index });
  }

  told({ index, payloads = [], error }) {
    if (index !== this.index) return;
    const [one, other] = payloads;
    const alike = one && other && one.data === other.data && one.metadata === other.metadata;
    const kept = alike ? [{ ...one, label: `${one.label}, and ${other.label.toLowerCase()}` }] : payloads;
    const shown = kept.map(({ label, data, metadata }) => make(
      "div", {}, make("strong", { textContent: label }), make("pre", { textContent: indented(data) }),
      ...(metadata ? [make("span", { textContent: "Metadata" }), make("pre", { textContent: indented(metadata) })] : []),
    ));
    this.said.replaceChildren(...(error ? [make("p", { textContent: error })] : shown));
  }

  toggle() {
    if (this.timers.play) {
      this.stop();
      return;
    }
    if (this.index === this.film.count - 1) this.show(0);
    this.face("stop", "Stop (space)");
    const step = () => {
      if (this.index === this.film.count - 1) {
        this.stop();
        return;
      }
      this.timers.play = setTimeout(step, 1000 / Number(this.speed.value));
      this.show(this.index + 1);
    };
    this.timers.play = setTimeout(step, 1000 / Number(this.speed.value));
  }

  stop() {
    if (!this.timers.play) return;
    clearTimeout(this.timers.play);
    this.timers.play = undefined;
    this.face("play", "Play (space)");
  }

  face(name, label) {
    this.playing.replaceChildren(icon(ICONS[name]));
    this.playing.title = label;
    this.playing.setAttribute("aria-label", label);
  }

  pinned() {
    this.model.set("baseline", this.baseline === null ? this.index : null);
    this.model.save_changes();
  }

  /** Go to the last event at or before a time or a position. */
  goTo(text) {
    const [places, bound] = /^\d+$/.test(text) ? [this.film.position, BigInt(text)] : [this.film.recorded, this.time(text)];
    if (bound === null) {
      say(this.refused, "Write a date, a time that names its zone, such as 2026-03-01T09:00Z, or a position.");
      return;
    }
    // Clocks run backwards now and then: the last event recorded by then counts, with all before it in the log.
    // An event without an instant counts as recorded with the one before it.
    let found = places.length - 1;
    while (found >= 0 && (places[found] > bound || places[found] === UNDATED)) found -= 1;
    while (found >= 0 && places[found + 1] === UNDATED) found += 1;
    say(this.refused, found < 0 ? "The first event came later." : "");
    this.move(Math.max(0, found));
  }

  time(text) {
    const said = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6})\d*)? ?(Z|[+-]\d\d:\d\d))?$/i.exec(text);
    const whole = said && Date.parse(said[2] ? `${said[1]}T${said[2]}${said[4].toUpperCase()}` : `${said[1]}T00:00:00Z`);
    return said && !Number.isNaN(whole) ? BigInt(whole) * 1000n + BigInt((said[3] ?? "").padEnd(6, "0")) : null;
  }

  // ------------------------------------------------------------------ showing

  describe() {
    const { film, index } = this;
    const [side, other] = film.sides;
    const why = named(side.why, index);
    const changed = this.changes(index);
    const origin = other && named(other.origin, index);
    say(this.what, [
      `${named(film.type, index)}: ${named(side.outcome, index)}${changed.length ? ` ${changed.join(", ")}` : ""}${why ? ` (${why})` : ""}`,
      ...(other ? [`${film.labels[1].toLowerCase()}: ${named(other.outcome, index)}${origin && origin !== "recorded" ? `, ${origin}` : ""}`] : []),
    ].join(" · "));
    say(this.where, [
      `event ${grouped(index + 1)} of ${grouped(film.count)}`, instant(film.recorded[index], true), `position ${film.position[index]}`,
      `${named(film.stream, index)} revision ${film.revision[index]}`, `id ${uuid(film.ids, index)}`,
    ].join(" · "));
    this.slider.value = index;
    this.slider.setAttribute("aria-valuetext", `event ${index + 1} of ${film.count}, ${named(film.type, index)}, ${instant(film.recorded[index])}`);
    const pinned = this.baseline !== null;
    say(this.pin, pinned ? "Unpin the baseline" : "Pin as baseline");
    this.pin.setAttribute("aria-pressed", String(pinned));
    say(this.compared, pinned ? `Baseline: event ${grouped(this.baseline + 1)}` : "Before");
  }

  /** The names of the fields that an event changed. */
  changes(row, side = 0) {
    return this.film.fields.filter(({ tracks }) => {
      const track = tracks[side];
      return row + 1 > 0 && track.moments[place(track, row + 1)] === row + 1;
    }).map(({ name }) => name);
  }

  state() {
    const { film, index } = this;
    const now = index + 1;
    const before = this.baseline === null ? index : this.baseline + 1;
    const there = film.sides.map((side) => isThere(side, now));
    say(this.absent, film.sides.flatMap((_, side) => (there[side] ? [] : [`${film.labels[side]}: not there after this event.`])).join(" "));
    film.fields.forEach((field, number) => {
      const cells = this.cells[number];
      const text = (side, moment) => {
        const code = codeAt(field.tracks[side], moment);
        return code < 0 ? NOTHING : field.texts[code];
      };
      const [track, other] = field.tracks;
      const changed = codeAt(track, now) !== codeAt(track, before);
      const differs = this.forked && codeAt(track, now) !== codeAt(other, now);
      say(cells.value, text(0, now));
      say(cells.before, changed ? text(0, before) : "");
      if (this.forked) say(cells.fork, text(1, now));
      say(cells.mark, [changed ? "● changed" : "", differs ? "≠ differs" : ""].filter(Boolean).join("\n"));
      cells.row.classList.toggle("wbt-changed", changed);
      cells.fork.className = differs ? "wbt-differs" : "wbt-same";
      const since = track.moments[place(track, now)];
      say(cells.since, since ? instant(film.recorded[since - 1]) : "");
      cells.since.hidden = !since;
    });
    this.uncover();
  }

  /** Scroll the state so far that the first field that changed is seen, below the headings. */
  uncover() {
    const row = this.cells.find((cells) => cells.row.classList.contains("wbt-changed"))?.row;
    if (!row) return;
    const headings = this.compared.offsetHeight;
    const { scrollTop, clientHeight } = this.pane;
    if (row.offsetTop - headings < scrollTop) this.pane.scrollTop = row.offsetTop - headings;
    else if (row.offsetTop + row.offsetHeight > scrollTop + clientHeight) this.pane.scrollTop = row.offsetTop + row.offsetHeight - clientHeight;
  }

  spoken() {
    const changed = this.changes(this.index);
    return `Event ${this.index + 1}, ${named(this.film.type, this.index)}, ${changed.length ? `changed ${changed.join(", ")}` : "changed nothing"}`;
  }

  // ------------------------------------------------------------------ the list, of which only what is seen is there

  /** How far a list of full height would be scrolled: a very long one is squeezed into what a browser can scroll. */
  offset() {
    const shown = this.box.clientHeight;
    const room = this.height - shown;
    return room > 0 ? (this.box.scrollTop / room) * Math.max(0, this.film.count * ROW - shown) : 0;
  }

  reveal() {
    const shown = this.box.clientHeight;
    const full = this.film.count * ROW - shown;
    if (!shown || full <= 0) return;
    const offset = this.offset();
    const top = this.index * ROW;
    if (top >= offset && top + ROW <= offset + shown) return;
    // One that is near is let in at the edge, one that is far comes into the middle.
    const near = top > offset - shown && top < offset + 2 * shown;
    const wanted = near ? (top < offset ? top : top + ROW - shown) : top - (shown - ROW) / 2;
    this.box.scrollTop = (Math.max(0, Math.min(full, wanted)) / full) * (this.height - shown);
  }

  list(again) {
    const shown = this.box.clientHeight;
    if (!shown) return;
    if (again && !this.rows.length) this.reveal();
    const offset = this.offset();
    const first = Math.max(0, Math.floor(offset / ROW));
    const wanted = Math.min(this.film.count, Math.ceil(shown / ROW) + 1);
    while (this.rows.length < wanted) {
      const row = { time: make("span", { className: "wbt-time" }), type: make("span", { className: "wbt-type" }), note: make("span", { className: "wbt-note" }) };
      row.line = make("div", { role: "option" }, row.time, row.type, row.note);
      this.tall.append(row.line);
      this.rows.push(row);
    }
    this.rows.forEach((row, number) => {
      const event = first + number;
      row.line.hidden = event >= this.film.count;
      if (row.line.hidden) return;
      row.line.style.transform = `translateY(${this.box.scrollTop + event * ROW - offset}px)`;
      this.fill(row, event);
    });
    if (this.index >= first && this.index < first + this.rows.length) this.box.setAttribute("aria-activedescendant", `${this.id}-${this.index}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  fill(row, event) {
    const { film } = this;
    const chosen = event === this.index;
    row.line.setAttribute("aria-selected", String(chosen));
    row.line.classList.toggle("wbt-pinned", event === this.baseline);
    if (row.event === event) return;
    row.event = event;
    row.line.dataset.row = event;
    row.line.id = `${this.id}-${event}`;
    row.line.setAttribute("aria-setsize", film.count);
    row.line.setAttribute("aria-posinset", event + 1);
    const outcome = named(film.sides[0].outcome, event);
    say(row.time, instant(film.recorded[event]));
    say(row.type, named(film.type, event));
    const changed = this.changes(event).join(", ");
    say(row.note, `${film.differs?.[event] ? "≠ " : ""}${outcome === "changed" ? changed : outcome}`);
    row.line.classList.toggle("wbt-idle", !changed);
    row.line.title = `${named(film.type, event)}: ${outcome} ${changed}`;
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.remove();
  },
};

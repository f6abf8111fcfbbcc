// A red team's attempts, from the record that the operator named.

import { ask, picture } from "./api.js";
import { $, h } from "./dom.js";

const OUTCOMES = { through: "got through", held: "held", unscored: "not scored" };
const PAGE = 24;
const LONG = 120;
const chosen = { guard: "", attack: "", outcome: "" };
let opened = false;
let locked;

export async function openAttempts(whenLocked) {
  locked = whenLocked;
  if (!opened) await show();
}

async function show(offset = 0) {
  const query = new URLSearchParams({ offset, limit: PAGE });
  for (const [key, value] of Object.entries(chosen)) if (value) query.set(key, value);
  let said;
  try {
    said = await ask(`attempts?${query}`);
  } catch (problem) {
    if (problem.status === 401) return locked();
    return $("record").replaceChildren(h("div", { class: "problem", role: "alert" }, h("h2", {}, "The record can’t be read"), h("p", {}, problem.message)));
  }
  if (!opened) frame(said);
  opened = true;
  const list = $("attempt-list");
  if (!offset) list.replaceChildren();
  list.append(...said.attempts.map(attempt));
  const left = said.total - list.children.length;
  $("attempt-more").hidden = left <= 0;
  $("attempt-count").textContent = `${list.children.length} of ${said.total}`;
}

function frame(said) {
  $("record").replaceChildren(
    h("header", { class: "lead" }, h("h2", {}, "Attempts of a red team"), h("p", { class: "hint" }, `record: ${said.record}`)),
    table(said.cells), filters(said.cells),
    h("ul", { class: "attempt-list", id: "attempt-list" }),
    h("p", { class: "go" }, h("button", { class: "quiet", id: "attempt-more", type: "button", onclick: () => show($("attempt-list").children.length) }, "More")));
}

function table(cells) {
  const head = ["Guard", "Attack", "Attempts", "Got through", "Without attack", "Not scored", "Share"];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Counts" }, h("table", {},
    h("caption", { class: "sr" }, "How many attempts of each attack got through each guard"),
    h("thead", {}, h("tr", {}, head.map((text, place) => h("th", { scope: "col", class: place > 1 ? "n" : "" }, text)))),
    h("tbody", {}, cells.map(row))));
}

function row(cell) {
  const scored = cell.attempts - cell.unscored;
  const share = scored ? cell.through / scored : null;
  const numbers = [cell.attempts, cell.through, cell.unattacked, cell.unscored];
  return h("tr", {},
    h("th", { scope: "row" }, cell.guard.replaceAll("+", " + "), cell.variant === "default" ? "" : ` ${cell.variant}`),
    h("td", {}, cell.attack.replaceAll("_", " "), mode(cell)),
    numbers.map((value) => h("td", { class: "n" }, String(value))),
    h("td", { class: "n share" }, share === null ? "–" : `${Math.round(share * 100)} %`, share !== null && h("meter", { value: share, "aria-hidden": "true" })));
}

const mode = ({ adaptive }) => (adaptive === null ? "" : h("span", { class: "hint" }, adaptive ? " adaptive" : " static"));

function filters(cells) {
  const names = (key) => [...new Set(cells.map((cell) => cell[key]))];
  const select = (key, label, options) => h("div", { class: "field" },
    h("label", { for: `by-${key}` }, label),
    h("select", { id: `by-${key}`, onchange: (event) => { chosen[key] = event.target.value; show(); } },
      h("option", { value: "" }, "all"), options.map(([value, text]) => h("option", { value }, text))));
  return h("div", { class: "filters" },
    select("guard", "Guard", names("guard").map((name) => [name, name])),
    select("attack", "Attack", names("attack").map((name) => [name, name.replaceAll("_", " ")])),
    select("outcome", "Outcome", Object.entries(OUTCOMES)),
    h("label", { class: "switch" }, h("input", { type: "checkbox", role: "switch", checked: true, onchange: (event) => $("record").classList.toggle("plain", !event.target.checked) }),
      h("span", { class: "what" }, h("span", { class: "name" }, "Blur what got through"))),
    h("p", { class: "hint", id: "attempt-count", role: "status" }));
}

function attempt(one) {
  const acted = Object.entries(one.acted).filter(([, steps]) => steps > 0).map(([name, steps]) => `${name} ${steps}`);
  return h("li", { class: one.outcome },
    thumbnail(one),
    h("div", { class: "text" },
      h("p", { class: "verdict" }, h("b", {}, one.unattacked ? "unsafe unattacked" : OUTCOMES[one.outcome]), one.found.length ? ` ${one.found.join(", ")}` : "", one.reason ? ` ${one.reason}` : ""),
      sent(one.sent ?? one.prompt),
      one.sent && one.sent !== one.prompt && h("p", { class: "hint" }, `in the place of: ${one.prompt}`),
      h("p", { class: "hint" }, [one.attack.replaceAll("_", " "), one.guard, `seed ${one.seed}`, acted.length && `acted in steps: ${acted.join(", ")}`].filter(Boolean).join(" · "))));
}

// Some attacks send a prompt that fills the text encoder.
function sent(text) {
  if (text.length <= LONG) return h("p", { class: "prompt" }, text);
  return h("details", { class: "prompt" }, h("summary", {}, `${text.slice(0, LONG)} …`), h("p", {}, text));
}

function thumbnail(one) {
  const frame = h("div", { class: "frame small" });
  if (!one.picture) return frame;
  const image = h("img", { alt: one.outcome === "through" ? `picture that got through: ${one.found.join(", ") || "unsafe"}` : `picture for: ${one.prompt}`, loading: "lazy" });
  picture(one.picture).then((address) => { image.src = address; frame.append(image); }, () => frame.classList.add("missing"));
  return frame;
}

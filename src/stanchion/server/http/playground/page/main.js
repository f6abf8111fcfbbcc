// What is shown when: tabs, theme, key; the views themselves are in modules of their own.

import { ask, setKey } from "./api.js";
import { openAttempts } from "./attempts.js";
import { $ } from "./dom.js";
import { openForm } from "./form.js";
import { showProblem } from "./result.js";

const THEMES = ["auto", "light", "dark"];
const tabs = [...document.querySelectorAll('[role="tab"]')];

function select(tab, focus = false) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
  if (tab.id === "tab-attempts") openAttempts(locked);
  history.replaceState(null, "", tab.id === "tab-attempts" ? "#red-team" : " ");
}

function steer(event) {
  const turn = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.length, End: tabs.length }[event.key];
  if (!turn) return;
  event.preventDefault();
  const place = tabs.indexOf(event.target) + turn;
  select(tabs[Math.abs(turn) === 1 ? (place + tabs.length) % tabs.length : turn > 0 ? tabs.length - 1 : 0], true);
}

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try { localStorage.setItem("stanchion.theme", theme); } catch { /* a browser that keeps nothing */ }
  $("theme").textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[theme];
}

function locked() {
  $("key").hidden = false;
  $("key-value").focus();
}

async function start() {
  try {
    const said = await ask("");
    $("key").hidden = true;
    $("about").textContent = `${said.model} · ${said.size.replace("x", " × ")}`;
    $("tab-attempts").hidden = !said.record;
    openForm(said, locked);
    if (location.hash === "#red-team" && said.record) select($("tab-attempts"));
  } catch (problem) {
    if (problem.status === 401) locked();
    else showProblem(problem);
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", steer);
}
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key-value").value.trim());
  start();
});
setTheme(document.documentElement.dataset.theme ?? "auto");
start();

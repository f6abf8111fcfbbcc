// The form: a concept, its guards as switches, a seed; and what is sent for it.

import { ask } from "./api.js";
import { $, h, listed } from "./dom.js";
import { showEmpty, showProblem, showResult, showWaiting } from "./result.js";

const SAYS = {
  weights: "what the model has learnt", text: "what the prompt says", attention: "how the picture heeds it",
  trajectory: "each denoising step", decoder: "latents to pixels", output: "the finished picture",
};
const WHEN = {
  steer: "steers silently", say: "steers and says so", blur: "blurs", blank: "blanks",
  regenerate: "draws anew", refuse: "refuses",
};
let known;
let running = null;

export function openForm(said, locked) {
  known = said;
  $("concept").replaceChildren(...said.concepts.map((one) => h("option", { value: one.name }, one.name)));
  $("bare-row").hidden = !said.unguarded;
  $("steps").placeholder = said.steps;
  $("scale").placeholder = said.guidance_scale;
  $("prompt").maxLength = said.prompt_characters;
  $("concept").addEventListener("change", showGuards);
  $("another").addEventListener("click", () => { $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0]; });
  $("form").addEventListener("submit", (event) => { event.preventDefault(); draw(locked); });
  $("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); draw(locked); }
  });
  $("stop").addEventListener("click", () => running?.abort());
  showGuards();
  showEmpty(said.unguarded);
  $("status").textContent = "Write a prompt, choose its guards, and draw.";
}

const concept = () => known.concepts.find((one) => one.name === $("concept").value);

function showGuards() {
  const stages = Map.groupBy(concept().guards, (guard) => guard.stage);
  $("targets").textContent = concept().targets.join(", ");
  $("guards").replaceChildren(...[...stages].map(([stage, guards]) => h(
    "li", { class: "stage", role: "group", "aria-label": `Stage: ${stage}` },
    h("p", { class: "stage-name", "aria-hidden": "true" }, h("b", {}, stage), h("span", {}, SAYS[stage] ?? "")),
    guards.map(switchOf),
  )));
  const others = known.always.filter((one) => one.concept !== concept().name);
  $("always").hidden = !others.length;
  $("always").textContent = `Always on, by the policy: ${listed(others.map((one) => `${one.guard} (${one.concept})`))}.`;
}

function switchOf(guard) {
  const note = guard.when ? `The policy’s: ${WHEN[guard.when]}${guard.locked ? "; can’t be switched off" : ""}.` : "";
  const box = h("input", {
    type: "checkbox", role: "switch", value: guard.name, checked: guard.on, disabled: guard.locked,
    "data-steers": guard.stage === "trajectory" && !guard.watches, "aria-describedby": `about-${guard.name}`, onchange: (event) => alone(event.target),
  });
  return h(
    "label", { class: "switch" }, box,
    h("span", { class: "what" },
      h("span", { class: "name" }, guard.name),
      h("span", { class: "says", id: `about-${guard.name}`, title: guard.summary }, guard.summary),
      note && h("span", { class: "says" }, h("em", {}, note))),
  );
}

// Only one guard can choose the prediction of a step.
function alone(box) {
  if (!box.checked || !("steers" in box.dataset)) return;
  for (const other of document.querySelectorAll("#guards [data-steers]:not(:disabled)")) {
    if (other !== box) other.checked = false;
  }
}

const chosen = () => [...document.querySelectorAll("#guards input:checked")].map((box) => box.value);

function asked() {
  const whole = (id) => ($(id).value.trim() === "" ? undefined : Number($(id).value));
  return {
    prompt: $("prompt").value, concept: concept().name, guards: chosen(),
    seed: whole("seed"), steps: whole("steps"), guidance_scale: whole("scale"),
    unguarded: known.unguarded && $("bare").checked,
  };
}

async function draw(locked) {
  if (running) return;
  const body = asked();
  running = new AbortController();
  busy(true);
  showWaiting(body.unguarded);
  const begun = performance.now();
  const clock = setInterval(() => { $("draw").textContent = `Drawing ${((performance.now() - begun) / 1000).toFixed(0)} s`; }, 500);
  scrollTo($("status"));
  try {
    showResult(await ask("pictures", { body, signal: running.signal }), body.prompt);
  } catch (problem) {
    showEmpty(known.unguarded);
    if (problem.name === "AbortError") $("status").textContent = "Stopped. Nothing more is drawn for it.";
    else if (problem.status === 401) locked();
    else showProblem(problem, () => draw(locked));
  } finally {
    clearInterval(clock);
    running = null;
    busy(false);
  }
}

// On a phone the pictures lie below the form.
function scrollTo(element) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (element.getBoundingClientRect().top > innerHeight * 0.7) element.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
}

function busy(is) {
  $("draw").textContent = is ? "Drawing" : "Draw";
  $("draw").setAttribute("aria-disabled", String(is));
  $("stop").hidden = !is;
  $("form").setAttribute("aria-busy", String(is));
}

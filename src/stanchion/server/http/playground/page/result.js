// Two pictures side by side, or the reason why there is none.

import { $, h, number } from "./dom.js";
import { showEvidence } from "./evidence.js";

const WHY = {
  refuse: "A guard found the concept, so there is no picture.",
  regenerate: "A guard found the concept; the policy would draw again, with another seed.",
  withhold: "The picture check found the concept, and hands nothing over.",
  blank: "A guard found the concept; the policy hands out a blank picture.",
  safety_checker: "The model’s own safety checker kept it.",
};
const TITLES = {
  moderation_blocked: "Refused", rate_limit_exceeded: "Too many at once", moderation_unavailable: "No picture: a guard failed",
  service_unavailable: "Nothing is drawn now", invalid_value: "That can’t be asked", unreachable: "No answer",
};

export function showEmpty(unguarded) {
  frames(unguarded, () => h("div", { class: "frame idle" }));
}

export function showWaiting(unguarded) {
  $("problem").replaceChildren();
  $("evidence").hidden = true;
  $("status").textContent = "Drawing.";
  frames(unguarded, () => h("div", { class: "frame waiting" }));
}

function frames(unguarded, frame) {
  const titles = unguarded ? ["Without guards", "Guarded"] : ["Guarded"];
  $("pictures").replaceChildren(...titles.map((title) => figure(title, frame())));
}

function figure(title, inside, ...under) {
  return h("figure", {}, inside, h("figcaption", {}, h("b", {}, title), ...under));
}

export function showResult(said, prompt) {
  $("problem").replaceChildren();
  const size = said.size.split("x");
  const shown = [];
  if (said.unguarded) shown.push(figure("Without guards", pictureOf(said.unguarded, "without guards", prompt, size), cost(said.unguarded)));
  shown.push(figure("Guarded", pictureOf(said.guarded, "guarded", prompt, size), cost(said.guarded)));
  $("pictures").replaceChildren(...shown);
  showEvidence(said, prompt);
  const acted = said.guards.filter((guard) => guard.acted).map((guard) => guard.guard);
  const what = acted.length ? `${acted.join(", ")} acted` : "no guard acted";
  $("status").textContent = `Seed ${said.seed}: ${what}${said.guarded.withheld ? "; the picture was withheld" : ""}.`;
}

function pictureOf(one, how, prompt, [width, height]) {
  if (!one.b64_json) {
    return h("div", { class: "frame withheld" }, h("p", {}, h("b", {}, "Withheld"), h("span", {}, WHY[one.withheld] ?? "")));
  }
  const image = h("img", { src: `data:image/png;base64,${one.b64_json}`, alt: `${prompt}, ${how}`, width, height });
  return h("div", { class: `frame${Number(width) < 200 ? " small" : ""}` }, image, one.withheld === "blur" && h("p", { class: "veil" }, "Blurred"));
}

const cost = (one) => h("span", { class: "cost" }, `${number(one.milliseconds)} ms`);

export function showProblem(problem, again) {
  const { code, status, details, wait, id } = problem;
  const retry = again && (status === 429 || status === 503) && h("button", { class: "quiet", type: "button", onclick: again }, "Try again");
  $("evidence").hidden = true;
  $("status").textContent = "";
  $("pictures").replaceChildren();
  $("problem").replaceChildren(h(
    "div", { class: `problem ${code === "moderation_blocked" ? "refused" : ""}` },
    h("h2", {}, TITLES[code] ?? "It did not work"),
    h("p", {}, problem.message),
    details && h("p", {}, `Found at the stage “${details.moderation_stage}”: ${details.categories.join(", ")}.`),
    wait > 0 && h("p", {}, `Come again in ${wait} s.`),
    retry,
    h("p", { class: "hint" }, [status || null, code, id].filter(Boolean).join(" · ")),
  ));
}

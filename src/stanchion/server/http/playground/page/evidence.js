// What each guard's own report says of the call: marked words, a lane along the trajectory, scores, and what it took.

import { $, h, number, svg } from "./dom.js";

const STEPS = { from: 14, width: 61 }; // of a lane, in per cent
const CELLS = { text: [0, 9], decoder: [80, 7], output: [93, 7] };

export function showEvidence(said, prompt) {
  $("told").replaceChildren(marked(said.marks, prompt), lanes(said), costs(said), whole(said));
  $("evidence").hidden = false;
}

// Marks are counted in code points, and may overlap.
function marked(marks, prompt) {
  const signs = Array.from(prompt);
  const cuts = [...new Set([0, signs.length, ...marks.flatMap((mark) => [mark.start, mark.end])])].sort((a, b) => a - b);
  const parts = cuts.slice(1).map((end, place) => {
    const text = signs.slice(cuts[place], end).join("");
    const over = marks.filter((mark) => mark.start <= cuts[place] && mark.end >= end);
    if (!over.length) return text;
    const who = over.map((mark) => mark.guard + (mark.score === null ? "" : ` ${number(mark.score)}`)).join(", ");
    return h("mark", { title: who }, text, h("span", { class: "who" }, who));
  });
  return h("p", { class: "prompt" }, parts);
}

// Where a guard refused on the way, the way ends there.
const length = (said) => (ended(said) ? Math.max(said.passes, said.total) : said.passes);

function lanes(said) {
  const passes = length(said);
  return h("ul", { class: "lanes" }, h("li", { class: "axis", "aria-hidden": "true" }, h("span"), axis(passes), h("span")),
    said.guards.map((guard) => h("li", { class: guard.acted ? "acted" : "idle" },
      h("p", { class: "guard" }, h("b", {}, guard.guard), h("span", {}, `${guard.stage} · ${guard.concept}`)),
      h("div", { class: "lane" }, lane(guard, passes), curves(guard, passes)),
      h("p", { class: "did" }, sentence(guard, said)))));
}

const percent = (value) => `${value.toFixed(3)}%`;
const middle = ([from, width]) => from + width / 2;

function axis(passes) {
  const label = (x, anchor, text) => svg("text", { x: percent(x), y: "11", "text-anchor": anchor }, text);
  return svg("svg", { class: "ruler", height: "16" },
    label(0, "start", "text"), label(STEPS.from, "start", "step 1"), label(STEPS.from + STEPS.width, "end", String(passes)),
    label(middle(CELLS.decoder), "middle", "decode"), label(100, "end", "out"));
}

function lane(guard, passes) {
  const label = `${guard.guard}: ${guard.acted ? `acted in ${guard.active_steps} of ${guard.acted_at.length}` : "did not act"}`;
  const box = (x, width, on) => svg("rect", { x: percent(x), width: percent(width), y: "1", height: "18", rx: "2", class: on ? "on" : "off" });
  const line = svg("line", { x1: "0", x2: "100%", y1: "10", y2: "10", class: "way" });
  const all = svg("svg", { class: "cells", height: "20", role: "img", "aria-label": label }, line);
  if (guard.stage === "weights") all.append(box(STEPS.from, STEPS.width, guard.acted));
  else if (CELLS[guard.stage]) all.append(box(...CELLS[guard.stage], guard.acted), ...lasting(guard));
  else all.append(...cells(guard.acted_at, passes, box));
  return all;
}

function cells(flags, passes, box) {
  const each = STEPS.width / Math.max(passes, flags.length, 1);
  return flags.map((on, place) => box(STEPS.from + place * each, each * 0.82, on));
}

// A text guard that says until when its states are read.
function lasting(guard) {
  const until = guard.acted ? guard.details.until : undefined;
  if (typeof until !== "number") return [];
  return [svg("rect", { x: percent(STEPS.from), width: percent(STEPS.width * Math.min(until, 1)), y: "8", height: "4", rx: "2", class: "on" })];
}

function curves(guard, passes) {
  return Object.entries(guard.scores).filter(([name, values]) => values.length > 1 && (!guard.watches || name === "seen")).map(([name, values]) => {
    const low = guard.watches ? 0 : Math.min(...values), high = guard.watches ? 1 : Math.max(...values);
    const tall = guard.watches ? 36 : 20, wide = Math.max(passes, values.length);
    const height = (value) => (1 - (value - low) / (high - low || 1)) * (tall - 4) + 2;
    const points = values.map((value, place) => `${place + 0.5},${height(value)}`).join(" ");
    const hit = guard.threshold !== null && svg("line", { class: "hit", x1: 0, x2: wide, y1: height(guard.threshold), y2: height(guard.threshold) });
    const what = guard.watches ? `${guard.concept} seen` : name;
    const change = `${what} ${number(values[0])} → ${number(values.at(-1))}`;
    const about = `${what}: ${number(values[0])} to ${number(values.at(-1))}, between ${number(Math.min(...values))} and ${number(Math.max(...values))}`;
    return h("figure", { class: "curve" },
      svg("svg", { height: tall, role: "img", "aria-label": about },
        svg("svg", { x: percent(STEPS.from), width: percent(STEPS.width), height: tall, viewBox: `0 0 ${wide} ${tall}`, preserveAspectRatio: "none" },
          hit, svg("polyline", { points }))),
      h("figcaption", {}, hit ? `${change}; hit from ${guard.threshold}` : change));
  });
}

const SENTENCES = {
  text: (guard) => (guard.acted ? `Changed the prompt’s states${words(guard)}.` : `Found nothing in the prompt${score(guard)}.`),
  attention: (guard, said) => (guard.acted ? `Edited attention in ${guard.active_steps} of ${said.passes} passes.` : "Left attention alone."),
  trajectory: (guard, said) => (guard.watches ? watched(guard, said) : guard.acted ? `Steered ${guard.active_steps} of ${said.passes} passes.` : "Steered no step."),
  decoder: (guard) => (guard.acted ? "Changed what was decoded." : "Left the decoding alone."),
  output: (guard, said) => (guard.acted ? `Found ${guard.concept}${score(guard)}: ${withheld(said)}.` : `Found no ${guard.concept}${score(guard)}.`),
  weights: (guard) => (guard.acted ? "Drew with its own weights." : "Its weights were not used."),
};

const ended = (said) => said.guards.some((guard) => guard.refused);

const sentence = (guard, said) => (ended(said) && !guard.acted_at.length ? "Not reached." : (SENTENCES[guard.stage] ?? (() => (guard.acted ? "Acted." : "Did not act.")))(guard, said));

function watched(guard, said) {
  const peak = Math.max(0, ...(guard.scores.seen ?? [])), most = `(${number(peak)} at most)`;
  if (guard.refused) return `Saw ${guard.concept} ${most}: let no picture be made.`;
  if (guard.acted) return `Saw ${guard.concept} ${most}: drew something else in ${guard.active_steps} of ${said.passes} passes.`;
  return peak < guard.threshold ? `Saw no ${guard.concept} ${most}.` : `Saw ${guard.concept} ${most}: changed nothing.`;
}

function withheld(said) {
  return { "": "handed out all the same", blur: "blurred" }[said.guarded.withheld] ?? "withheld";
}

function words(guard) {
  const found = guard.details.flagged?.length ?? guard.details.triggers?.length;
  return found ? `: ${found} ${found === 1 ? "place" : "places"} marked above` : score(guard);
}

function score(guard) {
  const value = guard.details.score ?? guard.scores.found?.[0];
  return typeof value === "number" ? ` (${number(value)})` : "";
}

function costs(said) {
  const guarded = said.guarded.milliseconds, bare = said.unguarded?.milliseconds;
  const more = bare && guarded - bare;
  const text = bare
    ? `Guarded ${number(guarded)} ms, without guards ${number(bare)} ms: ${more < 0 ? "−" : "+"}${number(Math.abs(more))} ms, ${number(guarded / bare)} times as long.`
    : `Guarded ${number(guarded)} ms.`;
  return h("p", { class: "took" }, text, " ", h("span", { class: "hint" }, "One call each, on this server, just now."));
}

function whole(said) {
  const { guarded, unguarded, ...rest } = said;
  const plain = JSON.stringify(rest, null, 1);
  return h("details", { class: "more" }, h("summary", {}, "The report, whole"), h("pre", { tabindex: "0" }, plain));
}

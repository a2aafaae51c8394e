// Arena: two answers at one pace, a vote when both have ended, then the names.

import { $, at, notice, post, say, typing } from "./frame.js";

const main = $("main"), sides = ["left", "right"];
let game = "", key = "", source, tries = 0;

const state = (name) => {
  main.dataset.state = name;
  for (const one of document.querySelectorAll("[data-vote]")) one.disabled = name !== "ended";
  $("start").disabled = name === "running";
};

function request() {
  const models = [...document.querySelectorAll('[name="model"]:checked')].map((box) => box.value);
  return { text: $("prompt")?.value ?? "", message: Number(main.dataset.message) || null, models, same: $("same").checked };
}

async function start() {
  if (main.dataset.state === "running") return;
  state("running");
  try {
    ({ game } = await post("/arena/start", request()));
  } catch (error) {
    state("idle");
    return notice(error.message);
  }
  key = crypto.randomUUID?.() ?? `${game}-${performance.now()}`;
  for (const side of sides) { $(side).textContent = ""; $(`${side}-name`).textContent = say(`arena.${side}`); }
  $("pair").hidden = false;
  $("status").textContent = say("arena.writing");
  follow();
}

// Text is only ever appended, and the columns keep their places.
function follow() {
  source?.close();
  source = new EventSource(at(`/arena/${game}/live`));
  for (const side of sides) $(side).textContent = "";
  source.onmessage = (event) => {
    const { side, text } = JSON.parse(event.data);
    $(sides[side]).append(text);
  };
  source.addEventListener("over", () => {
    source.close();
    tries = 0;
    state("ended");
    $("status").textContent = say("arena.vote_now");
  });
  source.addEventListener("failed", () => {
    source.close();
    state("idle");
    $("status").textContent = say("arena.failed");
    if (++tries < 3) start();
  });
  source.onerror = () => { source.close(); if (main.dataset.state === "running") setTimeout(follow, 2000); };
}

async function vote(choice) {
  if (main.dataset.state !== "ended") return $("status").textContent = say("arena.not_yet");
  state("voting");
  try {
    const { models } = await post(`/arena/${game}/vote`, { key, vote: choice });
    models.forEach((name, i) => { $(`${sides[i]}-name`).textContent = name; });
    document.querySelector(`[data-vote="${choice}"]`).setAttribute("aria-pressed", "true");
    $("status").textContent = say("arena.thanks");
    state("idle");
    if ($("board").open) table(); else $("board").open = true;
  } catch (error) {
    state(error.status ? "idle" : "ended"); // without an answer the same key may be sent again
    notice(error.message);
  }
}

async function table() {
  const answer = await fetch(at("/arena/table")).catch(() => null);
  if (answer?.ok) $("table").innerHTML = await answer.text();
}

// Names of models come when they are asked for: until the vote they would be a hint.
async function choices() {
  if ($("models").children.length) return;
  const answer = await fetch(at("/arena/models")).catch(() => null);
  if (!answer?.ok) return;
  for (const name of (await answer.json()).models) {
    const label = document.createElement("label"), box = document.createElement("input");
    Object.assign(box, { type: "checkbox", name: "model", value: name, checked: true });
    label.append(box, name);
    $("models").append(label);
  }
}
$("choice").addEventListener("toggle", () => { if ($("choice").open) choices(); });
$("board").addEventListener("toggle", () => { if ($("board").open) table(); });

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  for (const one of document.querySelectorAll("[data-vote]")) one.removeAttribute("aria-pressed");
  tries = 0;
  start();
});
$("prompt")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("ask").requestSubmit(); }
});
for (const one of document.querySelectorAll("[data-vote]")) one.onclick = () => vote(one.dataset.vote);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target) || $("pair").hidden) return;
  const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "bad", "=": "tie" }[event.key];
  if (choice) { event.preventDefault(); vote(choice); }
});
addEventListener("pagehide", () => source?.close());

// The list of outputs in ranks with ties: by letters, arrows, buttons or dragging. Plain data in, plain data out.

import { $, say } from "./frame.js";
import { button, differing, element, marked, textBlock } from "./outputs.js";

export const LETTERS = "abcdefghi";

// groups: lists of tied outputs, the best first. Each function returns new groups.
export const without = (groups, i) => groups.map((group) => group.filter((one) => one !== i)).filter((group) => group.length);
export const placed = (groups, i) => groups.findIndex((group) => group.includes(i));

export function append(groups, i, tied) {
  if (placed(groups, i) >= 0) return groups;
  return tied && groups.length ? [...groups.slice(0, -1), [...groups.at(-1), i]] : [...groups, [i]];
}

export function move(groups, i, step) {
  const at = placed(groups, i);
  if (at < 0) return append(groups, i, false);
  const alone = groups[at].length === 1;
  const rest = without(groups, i);
  const to = alone ? at + step : at + (step > 0 ? 1 : 0);
  return to < 0 || to > rest.length ? groups : [...rest.slice(0, to), [i], ...rest.slice(to)];
}

// Ties an output to the one before it, or takes a tie away.
export function tie(groups, i) {
  const at = placed(groups, i);
  if (at < 0) return append(groups, i, true);
  if (groups[at].length > 1) return move(groups, i, 1);
  return at ? without(groups, i).map((group, n) => (n === at - 1 ? [...group, i] : group)) : groups;
}

export const written = (groups) => groups.map((group) => group.map((i) => LETTERS[i]).join("=")).join("");

export function fromRanks(ranks) {
  const order = [...new Set(ranks)].sort((x, y) => x - y);
  return order.map((rank) => ranks.flatMap((one, i) => (one === rank ? [i] : [])));
}

function card(outputs, i, place, change, pins) {
  const item = element("li", "card-row");
  item.dataset.output = i;
  const letter = LETTERS[i];
  const rank = button("letter", letter, () => change((groups) => append(groups, i, false), i), say("label.rank_next", { letter }));
  const tools = element("div", "card-tools");
  for (const [sign, name, act] of [["↑", "up", (g) => move(g, i, -1)], ["↓", "down", (g) => move(g, i, 1)], ["=", "tie", (g) => tie(g, i)]]) {
    tools.append(button("quiet", sign, () => change(act, i), say(`label.${name}`, { letter })));
  }
  const pin = button("quiet", say("label.pin"), () => pins.toggle(i), say("label.pin_name", { letter }));
  pin.setAttribute("aria-pressed", String(pins.has(i)));
  tools.append(pin);
  const body = textBlock(outputs[i]);
  body.classList.add("card-text");
  item.append(element("span", "place", place), rank, body, tools);
  item.tabIndex = -1;
  rank.onkeydown = (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step) { event.preventDefault(); change((groups) => move(groups, i, step), i); }
  };
  rank.addEventListener("pointerdown", (event) => drag(event, item, i, change));
  return item;
}

// Dragging by the letter: the card goes before the one that it is dropped on, or to the end.
function drag(event, item, i, change) {
  const start = event.clientY;
  let moved = false, over = null;
  const follow = (to) => {
    moved ||= Math.abs(to.clientY - start) > 8;
    if (!moved) return;
    item.classList.add("dragged");
    over?.classList.remove("over");
    over = document.elementFromPoint(to.clientX, to.clientY)?.closest("#ranked > .card-row");
    if (over === item) over = null;
    over?.classList.add("over");
  };
  const drop = (to) => {
    removeEventListener("pointermove", follow);
    removeEventListener("pointerup", drop);
    removeEventListener("pointercancel", drop);
    item.classList.remove("dragged");
    over?.classList.remove("over");
    if (!moved || to.type === "pointercancel") return;
    item.querySelector(".letter").addEventListener("click", (click) => click.stopImmediatePropagation(), { capture: true, once: true });
    const target = over ? Number(over.dataset.output) : -1;
    change((groups) => {
      const rest = without(groups, i), at = target < 0 ? rest.length : placed(rest, target);
      return [...rest.slice(0, at), [i], ...rest.slice(at)];
    }, i);
  };
  addEventListener("pointermove", follow);
  addEventListener("pointerup", drop);
  addEventListener("pointercancel", drop);
}

// Draws both lists. change(act, i): called with a function of groups when output i is moved.
export function drawRanking(outputs, groups, change, pins) {
  const ranked = [];
  let place = 1;
  for (const group of groups) {
    group.forEach((i, n) => {
      const item = card(outputs, i, n ? "=" : String(place), change, pins);
      item.classList.toggle("tied", n > 0);
      ranked.push(item);
    });
    place += group.length;
  }
  const rest = outputs.map((_, i) => i).filter((i) => placed(groups, i) < 0);
  $("ranked").replaceChildren(...ranked);
  $("rest").replaceChildren(...rest.map((i) => card(outputs, i, "", change, pins)));
  $("rest-title").hidden = !rest.length;
  $("typed").textContent = written(groups);
}

export function announce(groups, i, n) {
  const at = placed(groups, i), letter = LETTERS[i];
  if (at < 0) return say("label.unranked", { letter });
  const place = groups.slice(0, at).flat().length + 1;
  const others = groups[at].filter((one) => one !== i).map((one) => LETTERS[one]).join(", ");
  return say(others ? "label.placed_tied" : "label.placed", { letter, place, n, others });
}

// Two outputs side by side, with the words in which they differ on request.
export class Pins {
  constructor(draw) { this.draw = draw; this.list = []; this.differences = false; }
  has(i) { return this.list.includes(i); }
  clear() { this.list = []; }
  toggle(i) {
    this.list = this.has(i) ? this.list.filter((one) => one !== i) : [...this.list, i].slice(-2);
    this.draw();
  }
  show(outputs) {
    const box = $("pinned");
    box.hidden = this.list.length < 2;
    if (box.hidden) return box.replaceChildren();
    const texts = this.list.map((i) => outputs[i]);
    const words = this.differences ? differing(...texts) : texts.map((text) => [[text, false]]);
    const columns = this.list.map((i, n) => {
      const column = element("div", "pin");
      column.append(element("b", "letter", LETTERS[i]), marked(words[n]));
      return column;
    });
    const mark = button("quiet", say("label.differences"), () => { this.differences = !this.differences; this.draw(); });
    mark.setAttribute("aria-pressed", String(this.differences));
    box.replaceChildren(...columns, mark);
  }
}

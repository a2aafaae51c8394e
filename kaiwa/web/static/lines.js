// The list of chats: search, rename, delete with undo; a drawer on narrow screens.

import { $, at, notice, post, say, typing } from "./frame.js";
import { composing } from "./composer.js";

const rail = $("rail"), search = $("search"), lines = $("lines"), opener = $("rail-open");
let timer, latest = 0;

async function refresh() {
  const mine = ++latest;
  const values = new URLSearchParams({ q: search.value, open: $("main").dataset.chat || "0" });
  const answer = await fetch(at(`/chat/lines?${values}`)).catch(() => null);
  if (answer?.ok && mine === latest && !lines.querySelector("input")) lines.innerHTML = await answer.text();
}
search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(refresh, 150); });
document.addEventListener("lines-changed", refresh);

function rename(item) {
  const link = item.querySelector("a");
  const input = document.createElement("input");
  input.value = link.querySelector(".name").textContent;
  input.setAttribute("aria-label", say("title"));
  link.hidden = true;
  item.prepend(input);
  input.select();
  let over = false;
  const end = async (keep) => {
    if (over) return;
    over = true;
    const title = input.value.trim();
    input.remove();
    link.hidden = false;
    if (keep && title) await post(`/chat/${item.dataset.id}/rename`, { title }).catch((error) => notice(error.message));
    refresh();
  };
  input.onblur = () => end(true);
  input.onkeydown = (event) => {
    if (composing(event)) return;
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") { end(false); event.stopPropagation(); }
  };
}

async function remove(item) {
  const id = item.dataset.id;
  const title = item.querySelector(".name").textContent;
  try {
    await post(`/chat/${id}/delete`);
  } catch (error) {
    return notice(error.message);
  }
  const open = $("main").dataset.chat === id;
  const back = () => post(`/chat/${id}/undo`).then(() => (open ? location.assign(at(`/chat/${id}`)) : refresh()), (error) => notice(error.message));
  if (open) { // the page is left, so that nothing is written into a chat that is gone; undo comes along
    $("thread").replaceChildren();
    $("main").dataset.chat = "";
    $("welcome").hidden = false;
    history.pushState(null, "", at("/chat"));
  }
  refresh();
  notice(say("deleted", { title }), say("undo"), back);
}

lines.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const item = event.target.closest("li");
  if (button?.dataset.do === "rename") rename(item);
  if (button?.dataset.do === "delete") remove(item);
});

function drawer(open) {
  rail.classList.toggle("open", open);
  opener.setAttribute("aria-expanded", String(open));
  if (open) search.focus();
}
opener.onclick = () => drawer(!rail.classList.contains("open"));
document.addEventListener("click", (event) => {
  if (!rail.contains(event.target) && !opener.contains(event.target)) drawer(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && rail.classList.contains("open")) { drawer(false); opener.focus(); }
  if (event.key === "/" && !typing(event.target)) { drawer(true); search.focus(); event.preventDefault(); }
});

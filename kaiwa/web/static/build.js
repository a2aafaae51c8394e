// Build: starting, stopping, and swapping in what the server renders while a build runs.

import { $, at, copy, notice, post } from "./frame.js";

const main = $("main");

async function start(recipe) {
  try {
    const { run } = await post("/build/start", { recipe });
    location.href = at(`/build/${encodeURIComponent(run)}`);
  } catch (error) {
    notice(error.message);
  }
}

$("start").addEventListener("submit", (event) => { event.preventDefault(); start($("recipe").value); });

main.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.id === "stop-build") {
    button.disabled = true;
    post(`/build/${encodeURIComponent(main.dataset.run)}/stop`).catch((error) => { button.disabled = false; notice(error.message); });
  }
  if (button?.id === "go-on") start(button.dataset.recipe);
  if (button?.id === "copy-command") copy(document.querySelector(".command code").textContent, button);
});

// One line of events while the page is looked at. What has the focus keeps it across a swap.
let line;
function swap(id, html) {
  const part = $(id);
  const focused = part.contains(document.activeElement) ? document.activeElement.id || document.activeElement.getAttribute("href") : "";
  part.innerHTML = html;
  if (focused) (part.querySelector(`#${CSS.escape(focused)}`) ?? part.querySelector(`[href="${CSS.escape(focused)}"]`))?.focus();
}
function listen() {
  line?.close();
  if (document.hidden || main.dataset.state !== "running") return;
  line = new EventSource(at(`/build/${encodeURIComponent(main.dataset.run)}/live?stage=${encodeURIComponent(main.dataset.stage)}`));
  for (const part of ["strip", "curves", "samples"]) {
    line.addEventListener(part, (event) => swap(part, JSON.parse(event.data).html));
  }
  line.addEventListener("over", () => { line.close(); location.reload(); });
}
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => line?.close());
if (main.dataset.run) listen();

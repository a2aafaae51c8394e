// Label, the owner's side: join, links, close and reopen.

import { $, at, copy, notice, post } from "./frame.js";

const base = `/label/batch/${$("main").dataset.batch}`;

$("join")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const what = event.submitter?.value ?? "join", name = $("name").value;
  try {
    if (what === "revoke") { await post(`${base}/revoke`, { name }); return location.reload(); }
    const path = at((await post(`${base}/invite`, { name })).path);
    if (what === "join") return location.assign(path);
    $("link").hidden = false;
    $("link").querySelector("code").textContent = location.origin + path;
  } catch (error) {
    notice(error.message);
  }
});
if ($("copy-link")) $("copy-link").onclick = () => copy($("link").querySelector("code").textContent, $("copy-link"));
for (const name of ["close", "reopen"]) {
  if ($(name)) $(name).onclick = () => post(`${base}/${name}`).then(() => location.reload(), (error) => notice(error.message));
}

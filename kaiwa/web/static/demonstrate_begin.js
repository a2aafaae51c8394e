// Demonstrate: who writes, for which batch, with whose suggestions.

import { $, at, notice, post } from "./frame.js";

$("begin").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const { path, model } = await post("/demonstrate/begin", { name: $("name").value, batch: $("batch").value, model: $("model").value });
    location.assign(at(model ? `${path}?${new URLSearchParams({ model })}` : path));
  } catch (error) {
    notice(error.message);
  }
});

// Training: the list again every two seconds, as long as a job runs and the page is looked at.

import { $, at } from "./frame.js";

const jobs = $("jobs");

setInterval(async () => {
  if (document.hidden || !jobs.querySelector("[data-running]") || jobs.contains(document.activeElement)) return;
  const answer = await fetch(at("/training/jobs")).catch(() => null);
  if (answer?.ok) jobs.innerHTML = await answer.text();
}, 2000);

// The list says when newer parts have come; nothing on the page moves until somebody asks for them.

import { forgetDecided } from "./draft.js";
import { onKey, press } from "./keys.js";

const EVERY_MS = 10_000;
const list = document.querySelector("main.list");
const left = document.getElementById("left");
const fresh = document.getElementById("fresh");

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(list.dataset.waiting, { headers: { accept: "application/json" } });
    if (answer.status === 401) window.location.reload();
    if (!answer.ok) return;
    const waiting = await answer.json();
    left.textContent = waiting.left;
    // Ids are in order of time, as texts too.
    const newer = waiting.newest !== null && waiting.newest > list.dataset.newest;
    if (newer && !document.querySelector(".part-card")) window.location.reload();
    fresh.hidden = !newer;
  } catch {
    // The site is away for a moment; the next look finds it again.
  }
}

function step(by) {
  const cards = [...document.querySelectorAll(".part-card")];
  const at = cards.indexOf(document.activeElement);
  cards[Math.min(cards.length - 1, Math.max(0, at + by))]?.focus();
  return cards.length > 0;
}

onKey((key) => {
  if (key === "arrowright" || key === "arrowdown") return step(1);
  if (key === "arrowleft" || key === "arrowup") return step(-1);
  if (key === "enter" && document.activeElement === document.body) {
    document.getElementById("start")?.click();
    return true;
  }
  return press(key);
});

document.querySelector(".filters").addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement) event.currentTarget.submit();
});

forgetDecided();
setInterval(look, EVERY_MS);

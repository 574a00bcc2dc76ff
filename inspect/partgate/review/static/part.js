import { onKey, press } from "./keys.js";
import { setUpStrength } from "./strength.js";
import { setUpViewer } from "./viewer.js";

const form = document.getElementById("decide");
const image = document.getElementById("image");
const note = document.getElementById("note");
const decisions = form ? [...form.querySelectorAll("button")] : [];

const strength = setUpStrength();
const viewer = setUpViewer();

// Nobody decides a part before its image can be seen: keys of the part before fall on nothing.
function setReady() {
  for (const button of decisions) button.disabled = false;
  document.body.dataset.ready = "true";
  for (const next of document.querySelectorAll("[data-ahead]")) new Image().src = next.dataset.ahead;
}

async function waitForImage() {
  for (const button of decisions) button.disabled = true;
  try {
    await image?.decode();
  } catch {
    // A damaged file is said in its place; the part itself can still be decided.
  }
  requestAnimationFrame(setReady);
}

form?.addEventListener("submit", (event) => {
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "true";
  event.submitter?.classList.add("pressed");
});

// Back out of the next part: the browser may show this page as it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});

onKey((key) => {
  if (key === "n" && note) {
    note.focus();
    return true;
  }
  if (key === "h") return strength.toggle();
  return viewer.key(key) || press(key);
});

waitForImage();

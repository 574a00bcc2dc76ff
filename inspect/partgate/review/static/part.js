import { setUpDraft } from "./draft.js";
import { onKey, press } from "./keys.js";
import { allSeen } from "./seen.js";
import { setUpSending } from "./sending.js";
import { setUpStrength } from "./strength.js";
import { setUpViewer } from "./viewer.js";

const form = document.getElementById("decide");
const note = document.getElementById("note");
const decisions = form ? [...form.querySelectorAll("button")] : [];

const strength = setUpStrength();
const viewer = setUpViewer();
setUpDraft(note);

// Nobody decides a part before its image can be seen: keys of the part before fall on nothing.
async function waitForImage() {
  for (const button of decisions) button.disabled = true;
  const seen = await allSeen();
  requestAnimationFrame(() => setReady(seen));
}

function setReady(seen) {
  for (const button of decisions) {
    button.disabled = false;
    // Hands that have found their rhythm do not read: what was not seen is decided with the mouse.
    if (!seen) {
      delete button.dataset.key;
      button.querySelector("kbd")?.remove();
    }
  }
  document.body.dataset.ready = "true";
  for (const next of document.querySelectorAll("[data-ahead]")) new Image().src = next.dataset.ahead;
}

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
}, setUpSending(form));

waitForImage();

// How strongly the anomaly map lies over the image. Each browser remembers its own.

const STORED = "partgate.strength";
const USUAL = 45;

function remembered() {
  const stored = Number.parseInt(window.localStorage.getItem(STORED) ?? "", 10);
  return Number.isInteger(stored) ? Math.min(100, Math.max(0, stored)) : USUAL;
}

export function setUpStrength() {
  const slider = document.getElementById("strength");
  const overlay = document.getElementById("overlay");
  const text = document.getElementById("strength-text");
  if (!slider || !overlay) return { toggle: () => false };

  let hidden = false;

  function show() {
    overlay.style.opacity = hidden ? "0" : String(Number(slider.value) / 100);
    text.value = hidden ? "off" : `${slider.value} %`;
  }

  slider.addEventListener("input", () => {
    hidden = false;
    window.localStorage.setItem(STORED, slider.value);
    show();
  });
  // After the mouse let go of it, the arrow keys belong to the parts again.
  slider.addEventListener("pointerup", () => slider.blur());

  slider.value = String(remembered());
  slider.disabled = false;
  show();

  return {
    toggle() {
      hidden = !hidden;
      show();
      return true;
    },
  };
}

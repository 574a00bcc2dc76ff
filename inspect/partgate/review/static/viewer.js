// Zoom and pan. `scale` 1 shows the whole image; the layers move by one CSS transform.

const STEP = 1.25;
const MOST_PIXELS = 16; // screen pixels per image pixel

export function setUpViewer() {
  const viewport = document.getElementById("viewport");
  const layers = document.getElementById("layers");
  const image = document.getElementById("image");
  const bar = document.getElementById("zoom");
  const text = document.getElementById("zoom-text");
  if (!viewport || !layers || !image || !bar) return { key: () => false };

  let scale = 1;
  let x = 0;
  let y = 0;
  const pointers = new Map();
  // As the attributes say, before it is loaded: an image's `width` is how wide it is laid out.
  const [width, height] = ["width", "height"].map((name) => Number(image.getAttribute(name)));

  function fitted() {
    return Math.min(viewport.clientWidth / width, viewport.clientHeight / height);
  }

  // The scale at which one pixel of the image is one pixel of the screen.
  function pixelScale() {
    return 1 / (fitted() * window.devicePixelRatio);
  }

  function bound(offset, size) {
    const rest = size - size * scale;
    return rest > 0 ? rest / 2 : Math.min(0, Math.max(rest, offset));
  }

  // At single pixels the image begins on a pixel of the screen: half a pixel beside it, lines blur.
  function onPixels(offset, from, room, size) {
    const begin = from + offset + (scale * (room - size * fitted())) / 2;
    return offset + Math.round(begin * window.devicePixelRatio) / window.devicePixelRatio - begin;
  }

  function show() {
    x = bound(x, viewport.clientWidth);
    y = bound(y, viewport.clientHeight);
    if (scale === pixelScale()) {
      const box = viewport.getBoundingClientRect();
      x = onPixels(x, box.left, viewport.clientWidth, width);
      y = onPixels(y, box.top, viewport.clientHeight, height);
    }
    layers.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    layers.classList.toggle("pixels", scale > 1 && scale > pixelScale() * 1.01);
    viewport.classList.toggle("zoomed", scale > 1);
    text.value = scale === 1 ? "fit" : `${Math.round((100 * scale) / pixelScale())} %`;
  }

  // What lies under (atX, atY) of the viewport stays there.
  function zoomTo(wanted, atX = viewport.clientWidth / 2, atY = viewport.clientHeight / 2) {
    const most = Math.max(1, MOST_PIXELS * pixelScale());
    const least = Math.min(1, pixelScale());
    const next = Math.min(most, Math.max(least, wanted));
    x = atX - ((atX - x) * next) / scale;
    y = atY - ((atY - y) * next) / scale;
    scale = next;
    show();
  }

  const acts = {
    in: () => zoomTo(scale * STEP),
    out: () => zoomTo(scale / STEP),
    fit: () => zoomTo(1),
    pixels: () => zoomTo(pixelScale()),
  };
  const keys = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "pixels" };

  function place(event) {
    const box = viewport.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  viewport.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
    zoomTo(scale * Math.exp((-event.deltaY * lines) / 500), ...place(event));
  }, { passive: false });

  viewport.addEventListener("dblclick", (event) => {
    zoomTo(scale > 1 ? 1 : Math.max(2, pixelScale()), ...place(event));
  });

  viewport.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, place(event));
    viewport.setPointerCapture(event.pointerId);
    viewport.classList.add("dragging");
  });

  viewport.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, now);
    if (other) {
      const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoomTo((scale * spread(now)) / Math.max(1, spread(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else {
      x += now[0] - before[0];
      y += now[1] - before[1];
      show();
    }
  });

  function release(event) {
    pointers.delete(event.pointerId);
    if (pointers.size === 0) viewport.classList.remove("dragging");
  }
  viewport.addEventListener("pointerup", release);
  viewport.addEventListener("pointercancel", release);

  bar.addEventListener("click", (event) => acts[event.target.dataset.zoom]?.());
  window.addEventListener("resize", show);
  bar.hidden = false;
  show();

  return {
    key(name) {
      acts[keys[name]]?.();
      return name in keys;
    },
  };
}

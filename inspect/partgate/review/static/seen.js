// Waits until a part's image and its anomaly map can be seen.

const AGAIN_MS = 1000;
const NOTHING_TO_SEE_MS = 500;

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// A site that is busy for a moment answers the second time; it alone can say that a file is damaged.
async function fetched(picture) {
  await pause(AGAIN_MS);
  const answer = await fetch(picture.src).catch(() => null);
  if (answer?.ok) picture.src = picture.src;
  return answer?.status ?? 0;
}

// Returns null once a picture can be seen, else the status with which its second try ended; 0 is none.
async function problemOf(picture) {
  try {
    await picture.decode();
    return null;
  } catch {
    const status = await fetched(picture);
    return picture.decode().then(() => null, () => status);
  }
}

function say(place, named, status) {
  const damaged = status === 404;
  place.textContent = damaged
    ? `${named} cannot be shown: its file is damaged.`
    : `${named} could not be loaded. Reload the page.`;
  place.append(" Without it the keys decide nothing; the buttons do.");
  place.hidden = false;
}

// Returns whether all there is to see is seen. A part without an image takes as long as a key pressed
// twice: the second time is not meant for it.
export async function allSeen() {
  const image = document.getElementById("image");
  const overlay = document.getElementById("overlay");
  const place = document.getElementById("not-seen");
  if (!image) {
    await pause(NOTHING_TO_SEE_MS);
    return true;
  }
  const [ofImage, ofMap] = await Promise.all([problemOf(image), overlay ? problemOf(overlay) : null]);
  if (ofImage !== null) {
    document.getElementById("layers").hidden = true;
    say(place, "The image", ofImage);
  } else if (ofMap !== null) {
    overlay.hidden = true;
    say(place, "The anomaly map", ofMap);
  }
  return ofImage === null && ofMap === null;
}

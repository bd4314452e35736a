// A test pattern in the display's own pixels: an image would be scaled, and hide what it is to show.
const canvas = document.querySelector("#pattern");
const STEPS = 18; // TG18-QC: 18 digital driving levels from 0 to 255
const CORNER = 4; // levels by which the corners of a step differ from it
const grey = (level) => `rgb(${level},${level},${level})`;

function draw() {
  const scale = devicePixelRatio;
  const box = canvas.getBoundingClientRect();
  [canvas.width, canvas.height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { alpha: false });
  const fill = (level, x, y, w, h) => {
    context.fillStyle = grey(level);
    context.fillRect(Math.round(x), Math.round(y), Math.round(w), Math.round(h));
  };
  const unit = Math.floor(Math.min(width, height) / 16);
  fill(128, 0, 0, width, height);
  grid(context, width, height, unit);
  contrast(fill, unit, height);
  steps(fill, width, height, unit);
  bars(fill, width, height, unit);
  ramp(fill, width, height, unit);
  canvas.dataset.drawn = "";
}

function grid(context, width, height, unit) {
  context.strokeStyle = grey(191);
  context.lineWidth = 1;
  context.beginPath();
  for (let x = (width / 2) % unit; x < width; x += unit) line(context, x, 0, x, height);
  for (let y = (height / 2) % unit; y < height; y += unit) line(context, 0, y, width, y);
  context.stroke();
  context.strokeStyle = grey(255);
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  context.beginPath();
  context.arc(width / 2, height / 2, Math.min(width, height) / 2 - unit / 2, 0, 2 * Math.PI);
  context.stroke();
}

function line(context, x1, y1, x2, y2) {
  context.moveTo(Math.floor(x1) + 0.5, Math.floor(y1) + 0.5);
  context.lineTo(Math.floor(x2) + 0.5, Math.floor(y2) + 0.5);
}

/** SMPTE RP 133: 5 % within 0 %, 95 % within 100 %. */
function contrast(fill, unit, height) {
  const [x, size] = [unit, 2 * unit];
  for (const [at, outer, inner] of [[-1, 0, 13], [1, 255, 242]]) {
    const y = height / 2 + at * 1.5 * unit - size / 2;
    fill(outer, x, y, size, size);
    fill(inner, x + size / 4, y + size / 4, size / 2, size / 2);
  }
}

/** In two rows, there and back, so that black lies under white. */
function steps(fill, width, height, unit) {
  const size = Math.min(1.3 * unit, (width - 8 * unit) / (STEPS / 2));
  const left = (width - size * STEPS / 2) / 2;
  for (let step = 0; step < STEPS; step++) {
    const level = Math.round(255 * step / (STEPS - 1));
    const column = step < STEPS / 2 ? step : STEPS - 1 - step;
    const [x, y] = [left + column * size, height / 2 + (step < STEPS / 2 ? -size : 0)];
    fill(level, x, y, size, size);
    fill(Math.max(0, level - CORNER), x + size / 8, y + size / 8, size / 5, size / 5);
    fill(Math.min(255, level + CORNER), x + size * 27 / 40, y + size * 27 / 40, size / 5, size / 5);
  }
}

/** Pairs of lines of one and of two pixels, upright at the right and lying below. */
function bars(fill, width, height, unit) {
  const size = 2 * unit;
  for (const [at, wide] of [[-1, 1], [1, 2]]) {
    const [x, y] = [Math.round(width - unit - size), Math.round(height / 2 + at * 1.5 * unit - size / 2)];
    for (let offset = 0; offset < size; offset += 2 * wide) {
      fill(0, x + offset, y, wide, size);
      fill(255, x + offset + wide, y, wide, size);
    }
    const [left, top] = [Math.round(width / 2 + at * 1.5 * unit - size / 2), Math.round(height - 4.5 * unit)];
    for (let offset = 0; offset < size; offset += 2 * wide) {
      fill(0, left, top + offset, size, wide);
      fill(255, left, top + offset + wide, size, wide);
    }
  }
}

function ramp(fill, width, height, unit) {
  const [left, long] = [2 * unit, width - 4 * unit];
  for (let level = 0; level < 256; level++) {
    fill(level, left + level * long / 256, height - 2 * unit, long / 256 + 1, unit);
  }
}

function tellFacts() {
  const facts = document.querySelector("#display-facts");
  const values = [Math.round(screen.width * devicePixelRatio), Math.round(screen.height * devicePixelRatio),
    Number(devicePixelRatio.toFixed(2)), Math.round(screen.colorDepth / 3)];
  facts.textContent = facts.dataset.words.replace(/\{(\d)\}/g, (_, number) => values[Number(number)]);
}

new ResizeObserver(draw).observe(canvas);
tellFacts();
document.querySelector("#fill-screen").addEventListener("click", () => canvas.requestFullscreen());

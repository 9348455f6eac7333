// Frames of one episode, fetched in blocks when they are needed; the oldest blocks are let go.

import { bytesOf } from './api.js';
import { el } from './dom.js';

const BLOCK = 64;  // frames in one request
const HELD = 24 << 20;  // bytes of frames held by one film at most

/** RGB frames by time step: `at(t)` gives {data, high, wide} or null, and fetches what lacks. */
export class Frames {
  constructor(query, length, arrived, failed = () => {}, path = 'frames') {
    Object.assign(this, { query, length, arrived, failed, path, blocks: new Map(), asked: new Map() });
  }

  at(t) {
    const block = this.blocks.get(Math.floor(t / BLOCK));
    this.want(t);
    if (t % BLOCK > BLOCK / 2) this.want(t + BLOCK);
    if (!block) return null;
    const [, high, wide, channels] = block.shape;
    const size = high * wide * channels;
    const start = (t % BLOCK) * size;
    return { data: block.data.subarray(start, start + size), high, wide };
  }

  want(t) {
    const number = Math.floor(t / BLOCK);
    if (t < 0 || t >= this.length || this.blocks.has(number) || this.asked.has(number)) return;
    for (const [other, life] of this.asked)  // a fast scrub leaves no queue behind
      if (Math.abs(other - number) > 1) { life.abort(); this.asked.delete(other); }
    const life = new AbortController();
    this.asked.set(number, life);
    const query = { ...this.query, start: number * BLOCK, count: BLOCK };
    bytesOf(this.path, query, { signal: life.signal }).then(block => {
      this.blocks.set(number, block);
      this.trim(number);
      this.arrived();
    }, error => {
      if (error.name !== 'AbortError') this.failed(error);
    }).finally(() => { if (this.asked.get(number) === life) this.asked.delete(number); });
  }

  trim(number) {
    const size = [...this.blocks.values()].reduce((sum, each) => sum + each.data.length, 0);
    const far = [...this.blocks.keys()].sort((a, b) => Math.abs(b - number) - Math.abs(a - number));
    for (let held = size; held > HELD && this.blocks.size > 2;) {
      const gone = far.shift();
      held -= this.blocks.get(gone).data.length;
      this.blocks.delete(gone);
    }
  }

  close() {
    for (const life of this.asked.values()) life.abort();
    this.blocks.clear();
  }
}

/** Draw RGB bytes, pixel by pixel. */
export function paintFrame(canvas, { data, high, wide }) {
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const draw = canvas.getContext('2d');
  if (!canvas.image || canvas.image.width !== wide || canvas.image.height !== high)
    canvas.image = draw.createImageData(wide, high);
  const out = canvas.image.data;
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    out[to] = data[from];
    out[to + 1] = data[from + 1];
    out[to + 2] = data[from + 2];
    out[to + 3] = 255;
  }
  draw.putImageData(canvas.image, 0, 0);
}

/** A canvas with a name, a colour and a few words under it. */
export function film(name, colour) {
  const canvas = el('canvas', { width: 64, height: 64, role: 'img', 'aria-label': name });
  const words = el('span', { class: 'pale' });
  const node = el('figure', { class: 'film', style: { '--colour': colour } }, canvas,
    el('figcaption', {}, el('span', { text: name }), words));
  return { node, canvas, words, show: frame => frame && paintFrame(canvas, frame) };
}

/** Mean squared difference of two frames, pixels in [0, 1]. */
export function difference(one, other) {
  let sum = 0;
  for (let at = 0; at < one.data.length; at += 1) sum += (one.data[at] - other.data[at]) ** 2;
  return sum / one.data.length / 65025;
}

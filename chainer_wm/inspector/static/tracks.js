// Series over time under one another, with one cursor through all of them.

import { short } from './chart.js';
import { css, el, pen, redrawn } from './dom.js';

/** The stack. `moved(t)` is called when somebody clicks or drags in it. */
export class Tracks {
  constructor(moved) {
    this.length = 1;
    this.moved = moved;
    this.cursor = el('div', { class: 'cursor' });
    this.context = el('div', { class: 'cursor context hidden', title: 'here the dream begins' });
    this.node = el('div', { class: 'tracks' }, this.cursor, this.context);
    this.drawn = [];
    this.folded = new Set();  // names of tracks that are hidden
  }

  /** Take all tracks out, for an episode of so many steps. */
  clear(length) {
    this.length = length;
    this.drawn = [];
    this.node.replaceChildren(this.cursor, this.context);
    this.placeContext(null);
  }

  /** Add a track: {name, unit, high, draw(pen, x, wide, high), describe}. */
  add({ name, unit = '', high = 54, draw, words = '' }) {
    const canvas = el('canvas', { role: 'img', 'aria-label': `${name} over time. ${words}`,
      style: { height: `${high}px` } });
    const button = el('button', { type: 'button', text: name, title: 'hide or show',
      on: { click: () => {
        if (!this.folded.delete(name)) this.folded.add(name);
        fold();
        this.repaint();
      } } });
    const small = el('small', { text: unit });
    const row = el('div', { class: 'track' }, el('div', {}, button, small), canvas);
    const fold = () => {
      const hidden = this.folded.has(name);
      button.setAttribute('aria-expanded', String(!hidden));
      for (const each of [small, canvas]) each.classList.toggle('hidden', hidden);
    };
    fold();
    const repaint = () => {
      if (!canvas.clientWidth) return;
      const [context, wide, tall] = pen(canvas);
      draw(context, t => (t + 0.5) / this.length * wide, wide, tall);
      this.place(this.t ?? 0);
    };
    const pick = event => {
      if (!event.buttons && event.type !== 'pointerdown') return;
      if (event.type === 'pointerdown') canvas.setPointerCapture(event.pointerId);
      this.moved(Math.floor(event.offsetX / canvas.clientWidth * this.length), event);
    };
    canvas.addEventListener('pointerdown', pick);
    canvas.addEventListener('pointermove', pick);
    this.node.insertBefore(row, this.cursor);
    this.drawn.push(repaint);
    redrawn(canvas, repaint);
    return { row, repaint };
  }

  repaint() { this.drawn.forEach(each => each()); }

  place(t) {
    this.t = t;
    this.cursor.style.setProperty('left', this.left(t));
    if (this.begins !== null) this.context.style.setProperty('left', this.left(this.begins - 0.5));
  }

  /** Mark where a dream's context ends; null takes the mark away. */
  placeContext(t) {
    this.begins = t;
    this.context.classList.toggle('hidden', t === null);
    if (t !== null) this.context.style.setProperty('left', this.left(t - 0.5));
  }

  left(t) {
    const canvas = this.node.querySelector('canvas:not(.hidden)');
    if (!canvas) return '-9px';
    return `${canvas.offsetLeft + (t + 0.5) / this.length * canvas.clientWidth}px`;
  }
}

export function range(lists, ...more) {
  let [low, high] = [Infinity, -Infinity];
  for (const each of lists.concat(more))
    for (const value of typeof each === 'number' ? [each] : each) {
      if (value === null || !Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  if (low > high) return [0, 1];
  return high > low ? [low, high] : [low - 1, high + 1];
}

/** Draws lines (and bars) for a track: lines [{values, colour}], bars values, levels dotted. */
export function lines(series, { levels = [], bars = null, from = null, to = null } = {}) {
  return (draw, x, wide, high) => {
    const shown = series.filter(each => !each.hidden);
    const all = shown.map(each => each.values).concat(bars ? [bars] : []);
    const [low, top] = range(all, ...[from, to, ...levels, ...(bars ? [0] : [])].filter(
      each => each !== null));
    const y = value => high - 4 - (value - low) / (top - low) * (high - 8);
    draw.strokeStyle = css('line');
    for (const level of levels) {
      draw.setLineDash([2, 3]);
      draw.strokeRect(0, y(level), wide, 0);
    }
    draw.setLineDash([]);
    if (bars) {
      draw.fillStyle = css('random');
      const step = Math.max(1, wide / bars.length - 1);
      bars.forEach((value, t) => value && draw.fillRect(x(t) - step / 2, Math.min(y(value), y(0)),
        step, Math.max(1, Math.abs(y(0) - y(value)))));
    }
    for (const { values, colour } of shown) line(draw, values, colour, x, y, wide);
    if (high < 30) return;
    draw.font = '10px system-ui, sans-serif';
    draw.fillStyle = css('pale');
    draw.textAlign = 'right';
    draw.textBaseline = 'top';
    draw.fillText(short(top), wide - 3, 2);
    draw.textBaseline = 'bottom';
    draw.fillText(short(low), wide - 3, high - 1);
  };
}

/** A line; where there are more steps than pixels, from the least to the most of each pixel. */
function line(draw, values, colour, x, y, wide) {
  draw.strokeStyle = colour;
  draw.lineWidth = 1.3;
  draw.beginPath();
  const every = Math.max(1, Math.floor(values.length / wide / 1.5));
  let down = false;
  for (let t = 0; t < values.length; t += every) {
    const part = values.slice(t, t + every).filter(each => each !== null && Number.isFinite(each));
    if (!part.length) { down = false; continue; }
    const ends = every > 1 ? [Math.min(...part), Math.max(...part)] : part;
    for (const value of ends) {
      if (down) draw.lineTo(x(t), y(value)); else draw.moveTo(x(t), y(value));
      down = true;
    }
  }
  draw.stroke();
}

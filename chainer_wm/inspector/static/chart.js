// Curves on a canvas of our own: axes, a legend that hides series, a readout at the pointer.

import { css, el, number, pen, redrawn } from './dom.js';

const OTHERS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];
const MARGIN = { left: 46, right: 10, top: 8, bottom: 30 };

/** One colour per name, the same in every chart of a page. */
export function colours(names) {
  return Object.fromEntries(names.map((name, index) => [name, OTHERS[index % OTHERS.length]]));
}

/** Round numbers between two ends, about `count` of them. */
export function ticks(low, high, count = 4) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step)
    found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

export function short(value) {
  const size = Math.abs(value);
  for (const [limit, unit] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']])
    if (size >= limit) return `${+(value / (unit === 'k' ? 1e3 : limit)).toPrecision(3)}${unit}`;
  return size && size < 1e-3 ? value.toExponential(0) : String(+value.toPrecision(3));
}

/**
 * A chart: {title, xlabel, ylabel, log, series: [{name, colour, x, y, dash}]}.
 * What is null in y leaves a gap.
 */
export function chart({ title, xlabel, ylabel, log, series, hidden = new Set() }) {
  const canvas = el('canvas', { role: 'img', tabIndex: 0, 'aria-label':
    `${title}: ${series.map(each => `${each.name} ends at ${number(last(each.y))}`).join(', ')}` });
  const readout = el('div', { class: 'small pale nowrap' });
  const state = { at: null };
  const draw = () => {
    const shown = series.filter(each => !hidden.has(each.name));
    state.x = paint(canvas, shown, { xlabel, log, at: state.at });
  };
  const read = value => {
    state.at = value;
    const shown = series.filter(each => !hidden.has(each.name));
    readout.textContent = value === null ? ylabel || '' : `${xlabel || 'x'} ${number(
      nearest(shown[0], value)?.[0])}: ` + shown.map(each =>
      `${shown.length > 1 ? `${each.name} ` : ''}${number(nearest(each, value)?.[1])}`).join(', ');
    draw();
  };
  canvas.addEventListener('pointermove', event => state.x && read(state.x.value(event.offsetX)));
  canvas.addEventListener('pointerleave', () => read(null));
  canvas.addEventListener('blur', () => read(null));
  canvas.addEventListener('keydown', event => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !series.length) return;
    const xs = series[0].x;
    const index = state.at === null ? (step > 0 ? -1 : xs.length)
      : xs.indexOf(nearest(series[0], state.at)?.[0]);
    read(xs[Math.max(0, Math.min(xs.length - 1, index + step))]);
    event.preventDefault();
  });
  readout.textContent = ylabel || '';
  redrawn(canvas, draw);
  const node = el('figure', { class: 'chart', style: { margin: '0' } },
    el('h3', { text: title }), readout, canvas);
  if (series.length > 1) node.append(legend(series, hidden, draw));
  return node;
}

/** Buttons that hide and show series; `hidden` holds the names of those that are hidden. */
export function legend(series, hidden, changed) {
  return el('div', { class: 'legend' }, series.map(({ name, colour }) => {
    const button = el('button', { type: 'button', text: name, style: { '--colour': colour },
      'aria-pressed': String(!hidden.has(name)) });
    button.addEventListener('click', () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute('aria-pressed', String(!hidden.has(name)));
      changed();
    });
    return button;
  }));
}

const last = values => [...values].reverse().find(each => each !== null);

function nearest(series, value) {
  if (!series) return null;
  let best = null;
  series.x.forEach((x, index) => {
    if (series.y[index] !== null && (!best || Math.abs(x - value) < Math.abs(best[0] - value)))
      best = [x, series.y[index]];
  });
  return best;
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const each of values) {
    if (each === null || !Number.isFinite(each)) continue;
    low = Math.min(low, each);
    high = Math.max(high, each);
  }
  if (low > high) return [0, 1];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function paint(canvas, series, { xlabel, log, at }) {
  const [draw, wide, high] = pen(canvas);
  const scaled = log ? value => (value > 0 ? Math.log10(value) : null) : value => value;
  const lines = series.map(each => ({ ...each, y: each.y.map(y => (y === null ? y : scaled(y))) }));
  const [left, right] = extent(lines.flatMap(each => each.x));
  const [low, top] = extent(lines.flatMap(each => each.y));
  const inner = { wide: wide - MARGIN.left - MARGIN.right, high: high - MARGIN.top - MARGIN.bottom };
  const x = value => MARGIN.left + (value - left) / (right - left) * inner.wide;
  const y = value => MARGIN.top + (1 - (value - low) / (top - low)) * inner.high;
  draw.font = '11px system-ui, sans-serif';
  draw.strokeStyle = css('line');
  draw.fillStyle = css('pale');
  draw.textBaseline = 'middle';
  draw.textAlign = 'right';
  for (const tick of ticks(low, top)) {
    draw.beginPath();
    draw.moveTo(MARGIN.left, y(tick));
    draw.lineTo(wide - MARGIN.right, y(tick));
    draw.stroke();
    draw.fillText(short(log ? 10 ** tick : tick), MARGIN.left - 6, y(tick));
  }
  draw.textBaseline = 'top';
  draw.textAlign = 'center';
  for (const tick of ticks(left, right, Math.max(2, inner.wide / 80)))
    draw.fillText(short(tick), Math.min(x(tick), wide - 14), high - MARGIN.bottom + 5);
  draw.textAlign = 'right';
  draw.fillText(xlabel || '', wide - MARGIN.right, high - 12);
  for (const line of lines) stroke(draw, line, x, y);
  if (at !== null) mark(draw, lines, at, x, y, high);
  return { value: pixel => left + (pixel - MARGIN.left) / inner.wide * (right - left) };
}

function stroke(draw, { x: xs, y: ys, colour, dash }, x, y) {
  draw.strokeStyle = draw.fillStyle = colour;
  draw.lineWidth = 1.6;
  draw.setLineDash(dash || []);
  draw.lineJoin = 'round';
  draw.beginPath();
  let down = false;
  ys.forEach((value, index) => {
    if (value === null) { down = false; return; }
    if (down) draw.lineTo(x(xs[index]), y(value));
    else draw.moveTo(x(xs[index]), y(value));
    down = true;
  });
  draw.stroke();
  draw.setLineDash([]);
  if (ys.length <= 24)
    ys.forEach((value, index) => {
      if (value === null) return;
      draw.beginPath();
      draw.arc(x(xs[index]), y(value), 2.2, 0, 7);
      draw.fill();
    });
}

function mark(draw, lines, at, x, y, high) {
  const spot = nearest(lines[0], at);
  if (!spot) return;
  draw.fillStyle = css('pale');
  draw.fillRect(x(spot[0]), MARGIN.top, 1, high - MARGIN.top - MARGIN.bottom);
  for (const line of lines) {
    const point = nearest(line, at);
    if (!point) continue;
    draw.fillStyle = line.colour;
    draw.beginPath();
    draw.arc(x(point[0]), y(point[1]), 3.5, 0, 7);
    draw.fill();
  }
}

// What V, M and a DNC's memory make of the open episode: films, series, heat maps, the moment.

import { bytesOf, get } from './api.js';
import { link } from './app.js';
import { legend } from './chart.js';
import { css, el, number } from './dom.js';
import { difference, film, Frames, paintFrame } from './frames.js';
import { lines } from './tracks.js';

const KINDS = [['reconstruction', 'reconstruction', 'V of this frame'],
  ['one-step', 'one step', 'M, from the frame before'],
  ['dream', 'dream', 'M alone since the mark']];
const HEADS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/** Beside an episode of a run that has V and M. `desk` has t, episode, tracks, films, real. */
export class TraceView {
  constructor(desk, where, settings) {
    Object.assign(this, { desk, where, settings, hidden: new Set(), maps: {}, slot: null });
    this.films = Object.fromEntries(KINDS.map(([kind, name, title]) => {
      const made = film(name, css(kind));
      made.node.title = title;
      return [kind, made];
    }));
    this.error = film('error', css('error'));
    this.of = el('select', { 'aria-label': 'error of', on: { change: () => this.draw() } },
      KINDS.map(([kind, name]) => el('option', { value: kind, text: `of ${name}` })));
    this.controls = this.makeControls();
    this.memory = el('section');
  }

  makeControls() {
    const field = (name, options) => {
      const input = el('input', { type: 'number', 'aria-label': name, value: this.settings[name],
        style: { width: '68px' }, ...options, on: { change: () => {
          if (!input.checkValidity()) return;
          this.settings[name] = +input.value;
          this.dream();
        } } });
      return [el('label', { class: 'small nowrap' }, `${name} `, input), input];
    };
    const [context, input] = field('context', { min: 1, max: this.desk.episode.length - 1 });
    const [temperature] = field('temperature', { min: 0.1, max: 2, step: 0.05 });
    const [seed] = field('seed', { min: 0, step: 1 });
    const here = el('button', { type: 'button', text: 'Dream from here', on: { click: () => {
      this.settings.context = Math.max(1, Math.min(this.desk.episode.length - 1, this.desk.t));
      input.value = this.settings.context;
      this.dream();
    } } });
    const play = el('button', { type: 'button', text: 'Play on from here', on: { click: () => {
      location.hash = link('dream', { ...this.where, t: this.desk.t,
        temperature: this.settings.temperature });
    } } });
    const move = el('button', { type: 'button', text: 'Its latents', on: { click: () => {
      location.hash = link('latent', { ...this.where, t: this.desk.t });
    } } });
    return el('div', { class: 'bar' }, here, play, move, context, temperature, seed, this.of);
  }

  /** Ask for the trace, and put it beside the game. */
  async load() {
    const { signal } = this.desk;
    this.found = await get('trace', this.where, { signal });
    const { length } = this.desk.episode;
    if (this.closed || length < 2) return;
    this.settings.context ||= Math.max(1, Math.min(length - 1, Math.round(length / 4)));
    this.settings.temperature ||= this.found.temperature;
    this.settings.context = Math.min(this.settings.context, length - 1);
    this.controls.replaceWith(this.controls = this.makeControls());
    this.frames = Object.fromEntries(KINDS.slice(0, 2).map(([kind]) => [kind, this.source(kind)]));
    this.desk.films.append(...Object.values(this.films).map(each => each.node), this.error.node);
    this.desk.films.after(this.controls);
    this.addTracks();
    this.draw();
    await Promise.all([this.dream(), this.addMaps()]);
  }

  source(kind, more = {}) {
    return new Frames({ ...this.where, kind, ...more }, this.desk.episode.length,
      () => this.draw(), error => { this.desk.now.textContent = error.message; }, 'pictures');
  }

  addTracks() {
    const { found } = this;
    this.series = [{ name: 'one step', colour: css('one-step'), values: found.error },
      { name: 'dream', colour: css('dream'), values: [] }];
    this.ends = [{ name: 'one step', colour: css('one-step'), values: found.p_done || [] },
      { name: 'dream', colour: css('dream'), values: [] }];
    const shown = series => (pen, x, wide, high) => lines(series.map(each => ({ ...each,
      hidden: this.hidden.has(each.name) })), { from: 0 })(pen, x, wide, high);
    const { tracks } = this.desk;
    tracks.add({ name: 'error', unit: 'RMS over z', draw: shown(this.series) });
    tracks.add({ name: 'surprise', unit: 'nats', draw: lines([{ values: found.nats,
      colour: css('error') }]) });
    if (found.p_done) tracks.add({ name: 'P(done)', draw: shown(this.ends), high: 44 });
    if (found.reward) tracks.add({ name: 'reward', unit: 'that M predicts', high: 44,
      draw: lines([{ values: found.reward, colour: css('one-step') }]) });
    this.legend = legend(this.series, this.hidden, () => tracks.repaint());
    tracks.node.before(this.legend);
  }

  /** The open-loop dream for the context, temperature and seed as they are now. */
  async dream() {
    const { context, temperature, seed } = this.settings;
    const query = { context, temperature, seed };
    this.desk.noted();
    this.frames.dream?.close();
    this.frames.dream = this.source('dream', query);
    this.desk.tracks.placeContext(context);
    let found;
    try {
      found = await get('dream', { ...this.where, ...query }, { signal: this.desk.signal });
    } catch (error) {
      if (!this.closed) this.desk.now.textContent = error.message;
      return;
    }
    if (this.closed || this.settings.context !== context) return;
    const before = (_, t) => (t < context ? null : _);
    this.series[1].values = found.error.map(before);
    this.ends[1].values = (found.p_done || []).map(before);
    this.desk.tracks.repaint();
    this.draw();
  }

  async addMaps() {
    const { dnc } = this.found;
    const names = [['z', 'z', `${this.found.latents} latents`],
      ['h', 'h', `${this.found.hidden} units`]];
    if (dnc) {
      names.push(['usage', 'usage', `${dnc.slots} slots`], ['write', 'written', 'slots']);
      for (let head = 0; head < dnc.heads; head += 1)
        names.push([`read-${head}`, `read ${head + 1}`, 'slots']);
    }
    for (const [what, name, unit] of names) {
      const map = await bytesOf('map', { ...this.where, what }, { signal: this.desk.signal });
      if (this.closed) return;
      this.maps[what] = map;
      const high = Math.max(36, Math.min(96, map.shape[0] * 4));
      const colour = what === 'z' || what === 'h' ? null : css('dnc');
      const ends = ['Low', 'High'].map(end => number(+map.headers.get(`X-${end}`), 2));
      this.desk.tracks.add({ name, unit: `${unit}, ${ends.join(' to ')}`, high,
        draw: heat(map, colour) });
    }
    if (!dnc) return;
    this.spots = this.desk.tracks.add({ name: 'slot', unit: 'click one below', high: 30,
      draw: (pen, x, wide, high) => this.drawSlot(pen, x, wide, high) });
    this.desk.tracks.node.after(this.memory);
    this.moment();
  }

  /** Ticks at the steps that wrote the chosen slot (above) and read it (below). */
  drawSlot(pen, x, wide, high) {
    if (this.slot === null) return;
    for (const [what, { data, shape }] of Object.entries(this.maps)) {
      const head = /^read-(\d+)$/.exec(what);
      if (what !== 'write' && !head) continue;
      pen.fillStyle = head ? HEADS[head[1] % HEADS.length] : css('ink');
      for (let t = 0; t < shape[1]; t += 1) {
        pen.globalAlpha = data[this.slot * shape[1] + t] / 255;
        if (pen.globalAlpha > 0.05)
          pen.fillRect(x(t) - 0.75, head ? high / 2 + 1 : 2, 1.5, high / 2 - 3);
      }
    }
    pen.globalAlpha = 1;
  }

  /** The memory after the step at the cursor; one question at a time, the newest wins. */
  async moment() {
    if (!this.found?.dnc || this.asking || this.closed) return;
    this.asking = true;
    const { t } = this.desk;
    try {
      const here = await get('moment', { ...this.where, t }, { signal: this.desk.signal });
      if (!this.closed) this.drawMoment(here, t);
    } catch (error) {
      if (!this.closed) this.desk.now.textContent = error.message;
    }
    this.asking = false;
    if (!this.closed && this.desk.t !== t) this.moment();
  }

  drawMoment(here, t) {
    const slots = [[...here.memory[0].keys()], here.memory];
    const focus = this.memory.contains(document.activeElement);
    const used = el('div', { class: 'slots', role: 'group', 'aria-label': 'slots: choose one' },
      here.usage.map((usage, slot) => el('button', { type: 'button', text: String(slot + 1),
        'aria-pressed': String(this.slot === slot),
        title: `slot ${slot + 1}: usage ${number(usage, 2)}, written ${number(
          here.write_weights[slot], 2)}`,
        on: { click: () => {
          this.slot = this.slot === slot ? null : slot;
          this.spots.repaint();
          this.drawMoment(here, t);
        } } })));
    this.memory.replaceChildren(el('h2', { text: `The memory after t ${t}` }),
      el('div', { class: 'moment' },
        matrix('memory M', slots[1]), here.link ? matrix('link L', here.link, 1) : null,
        matrix('usage, written, read', [here.usage, here.write_weights, ...here.read_weights], 1),
        gates(here)),
      el('p', { class: 'small pale', text: 'Slots: one that is chosen marks the steps that '
        + 'wrote it (dark) and read it (a colour for each head).' }), used);
    if (focus && this.slot !== null) used.children[this.slot].focus();
  }

  draw() {
    if (!this.frames || !this.desk.episode) return;
    const { t } = this.desk;
    const real = this.desk.frames.at(t);
    for (const [kind] of KINDS) {
      const frame = this.frames[kind]?.at(t);
      this.films[kind].show(frame);
      this.films[kind].words.textContent = real && frame
        ? `mse ${number(difference(real, frame), 2)}` : '…';
    }
    const other = this.frames[this.of.value]?.at(t);
    if (real && other && real.data.length === other.data.length)
      paintFrame(this.error.canvas, { ...real, data: real.data.map((each, at) =>
        Math.min(255, 3 * Math.abs(each - other.data[at]))) });
    this.moment();
  }

  close() {
    this.closed = true;
    Object.values(this.frames || {}).forEach(each => each.close());
    for (const node of [this.controls, this.memory, this.legend]) node?.remove();
  }
}

/** The gates of a DNC and the modes of its read heads as a table. */
export function gates(here) {
  const gate = (name, value) => el('tr', {}, el('th', { scope: 'row', text: name }),
    el('td', { class: 'number', text: number(value, 2) }));
  const rows = [gate('write gate', here.write_gate[0]),
    gate('allocation gate', here.allocation_gate[0])];
  here.free_gates.forEach((value, head) => rows.push(gate(`free gate ${head + 1}`, value)));
  here.read_modes.forEach((modes, head) => rows.push(el('tr', {},
    el('th', { scope: 'row', text: `read ${head + 1}` }), el('td', { class: 'number nowrap',
      text: modes.map((value, at) => `${here.modes[at]} ${number(value, 2)}`).join(' · ') }))));
  return el('table', { class: 'gates' }, el('tbody', {}, rows));
}

/** A picture of values in bytes (N, T), stretched over a track. */
export function heat({ data, shape: [rows, steps] }, colour) {
  return (draw, x, wide, high) => {
    draw.imageSmoothingEnabled = steps > wide;
    draw.drawImage(picture(data, rows, steps, colour), 0, 0, wide, high);
  };
}

/** A named matrix as a small picture with its ends in words: from 0 to `most`, or around 0. */
export function matrix(name, rows, most = null) {
  const flat = rows.flat();
  const top = most ?? Math.max(...flat.map(Math.abs), 1e-9);
  const low = most ? 0 : -top;
  const data = Uint8Array.from(flat, each => (each - low) / (top - low) * 255);
  const canvas = picture(data, rows.length, rows[0].length, most ? css('dnc') : null);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `${name}, ${rows.length} by ${rows[0].length}`);
  return el('figure', {}, canvas, el('figcaption', { class: 'small' }, name,
    el('span', { class: 'pale', text: ` ${number(low, 2)} to ${number(top, 2)}` })));
}

/** Bytes as colours: from the page's paper to one colour, or from blue over it to red. */
function picture(data, high, wide, colour) {
  const canvas = el('canvas', { width: wide, height: high });
  const draw = canvas.getContext('2d');
  const image = draw.createImageData(wide, high);
  const rgb = text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
  const paper = rgb(css('paper'));
  const [low, top] = colour ? [paper, rgb(colour)] : [rgb('#0072b2'), rgb('#d55e00')];
  for (let at = 0; at < data.length; at += 1) {
    const share = data[at] / 255;
    const [from, to, part] = colour ? [low, top, share]
      : share < 0.5 ? [low, paper, share * 2] : [paper, top, share * 2 - 1];
    for (let c = 0; c < 3; c += 1) image.data[4 * at + c] = from[c] + (to[c] - from[c]) * part;
    image.data[4 * at + 3] = 255;
  }
  draw.putImageData(image, 0, 0);
  return canvas;
}

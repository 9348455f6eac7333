// Slide through V's latent space: a slider for each latent, those that carry most first.

import { bytesOf, get } from './api.js';
import { note } from './app.js';
import { css, el, fault, number } from './dom.js';
import { film } from './frames.js';
import { tabs } from './run.js';

const FIRST = 10;  // sliders shown at once
const REACH = 3.5;  // deviations to either side

export async function latentPage(node, query, signal) {
  const { run } = query;
  const summary = await get('run', { run }, { signal });
  node.append(tabs(run, 'latent', summary));
  const found = await get('latents', { run }, { signal });
  const desk = new Latents(query, found, Object.keys(summary.stores || {}), signal);
  node.append(desk.node);
  const from = query.episode !== undefined ? 'frame'
    : query.source || (found.frames ? 'random frame' : 'random z');
  await desk.begin(from, +query.seed || 0);
}

class Latents {
  constructor(query, found, stores, signal) {
    Object.assign(this, { query, found, signal, stores, kept: {} });
    this.z = [...found.mean];
    this.picture = film('V draws', css('reconstruction'));
    this.real = film('game', css('game'));
    this.ends = { A: film('A', css('one-step')), B: film('B', css('dream')) };
    Object.values(this.ends).forEach(each => each.node.classList.add('hidden'));
    this.words = el('p', { class: 'small pale' });
    this.problem = el('div');
    this.rows = found.order.map(index => this.slider(index));
    const all = el('button', { type: 'button', text: `Show all ${this.rows.length}`,
      on: { click: () => { this.list.classList.remove('few'); all.remove(); } } });
    this.list = el('div', { class: 'sliders few' }, this.rows.map(each => each.node));
    this.node = el('div', {}, this.problem, this.startBar(), el('div', { class: 'player' },
      el('div', {}, el('div', { class: 'films large' }, this.picture.node, this.real.node),
        this.words, this.morphing()),
      el('section', {}, el('h2', { text: found.kl ? 'Latents, the ones that carry most first'
        : 'Latents' }), this.list, this.rows.length > FIRST ? all : null)));
  }

  startBar() {
    const button = (text, source) => el('button', { type: 'button', text, on: { click: () =>
      this.begin(source, Math.floor(Math.random() * 1e6)) } });
    const field = (name, value) => el('input', { type: 'number', min: 0, value,
      'aria-label': name, style: { width: '76px' } });
    this.store = el('select', { 'aria-label': 'rollouts' }, this.stores.map(each =>
      el('option', { value: each, text: each, selected: each === this.query.store })));
    this.episode = field('episode', this.query.episode ?? 0);
    this.t = field('step', this.query.t ?? 0);
    const open = el('button', { type: 'button', text: 'Open', on: { click: () =>
      this.begin('frame', 0) } });
    const back = el('button', { type: 'button', text: 'Back to where it began', on: { click: () =>
      this.place([...this.origin]) } });
    return el('div', { class: 'bar' },
      this.found.frames ? button('Random frame', 'random frame') : null,
      button('Random z', 'random z'), back,
      this.stores.length ? [this.store, el('label', { class: 'small' }, 'episode ', this.episode),
        el('label', { class: 'small' }, 't ', this.t), open] : null);
  }

  /** One latent: its slider, how much it carries, its value. */
  slider(index) {
    const { mean, deviation, kl } = this.found;
    const reach = REACH * deviation[index];
    const input = el('input', { type: 'range', min: mean[index] - reach, max: mean[index] + reach,
      step: reach / 200, 'aria-label': `latent ${index}`, on: { input: () => {
        this.z[index] = +input.value;
        value.textContent = number(this.z[index], 2);
        this.draw();
      } } });
    const value = el('output', { class: 'number small' });
    const share = kl ? kl[index] / Math.max(...kl) : 0;
    const node = el('label', { class: 'small' }, el('span', { text: `z ${index}` }), input, value,
      kl ? el('span', { class: 'pale nowrap' }, el('span', { class: 'meter' }, el('i', {
        style: { width: `${100 * share}%` } })), ` ${number(kl[index], 2)} nats`) : null);
    return { node, place: () => {
      input.value = this.z[index];
      value.textContent = number(this.z[index], 2);
    } };
  }

  morphing() {
    this.part = el('input', { type: 'range', min: 0, max: 1, step: 0.01, value: 0,
      disabled: true, 'aria-label': 'from A to B', on: { input: () => {
        const part = +this.part.value;
        this.place(this.kept.A.map((each, at) => each + part * (this.kept.B[at] - each)));
      } } });
    const keep = name => el('button', { type: 'button', text: `Keep as ${name}`, on: {
      click: () => {
        this.kept[name] = [...this.z];
        this.ends[name].show(this.shown);
        this.ends[name].node.classList.remove('hidden');
        this.part.disabled = !(this.kept.A && this.kept.B);
      } } });
    return el('section', {}, el('h2', { text: 'From one frame to another' }),
      el('div', { class: 'bar' }, keep('A'), this.part, keep('B')),
      el('div', { class: 'films small' }, this.ends.A.node, this.ends.B.node));
  }

  /** Go to a frame of an episode, a random frame or a random z. */
  async begin(source, seed) {
    const { run } = this.query;
    const where = source !== 'frame' ? { seed }
      : { store: this.store.value, episode: this.episode.value, t: this.t.value };
    this.problem.replaceChildren();
    try {
      const { z } = await get('code', { run, source, ...where }, { signal: this.signal });
      this.origin = z;
      this.place([...z]);
      this.real.node.classList.toggle('hidden', source !== 'frame');
      if (source === 'frame') {
        const found = await bytesOf('frames', { run, store: where.store, episode: where.episode,
          start: where.t, count: 1 }, { signal: this.signal });
        const [, high, wide] = found.shape;
        this.real.show({ data: found.data, high, wide });
      }
      note('latent', { run, source: source === 'frame' ? undefined : source, ...where });
    } catch (error) {
      if (!this.signal.aborted) this.problem.replaceChildren(fault(error.message));
    }
  }

  place(z) {
    this.z = z;
    this.rows.forEach(each => each.place());
    this.draw();
  }

  /** One picture is asked for at a time; the newest z wins. */
  async draw() {
    if (this.asking) { this.again = true; return; }
    this.asking = true;
    do {
      this.again = false;
      const z = this.z.map(each => +each.toFixed(4)).join(',');
      try {
        const { data, shape: [high, wide] } = await bytesOf('decoded',
          { run: this.query.run, z }, { signal: this.signal });
        this.shown = { data, high, wide };
        this.picture.show(this.shown);
        this.picture.canvas.dataset.z = z;
        const far = Math.hypot(...this.z);
        this.words.textContent = `|z| ${number(far, 3)}; of N(0, 1) it is about ${
          number(Math.sqrt(this.z.length), 2)}`;
      } catch (error) {
        if (!this.signal.aborted) this.problem.replaceChildren(fault(error.message));
      }
    } while (this.again && !this.signal.aborted);
    this.asking = false;
  }
}

// A net at work on a sequence of its task, input by input: what it sees, answers and remembers.

import { get } from './api.js';
import { note } from './app.js';
import { css, el, fault, number } from './dom.js';
import { tabs } from './run.js';
import { gates, heat, matrix } from './trace.js';
import { Tracks } from './tracks.js';

const SPEEDS = [2, 4, 8, 16];  // inputs per second

export async function taskPage(node, query, signal) {
  const summary = await get('run', { run: query.run }, { signal });
  node.append(tabs(query.run, 'task', summary));
  const work = new Work(query, summary.config.task, signal);
  node.append(work.node);
  await work.open(+(query.length || 12), +(query.seed || 0), +(query.t || 0));
}

class Work {
  constructor(query, task, signal) {
    Object.assign(this, { query, task, signal, t: 0 });
    this.title = el('h1', { text: task.replaceAll('_', ' ') });
    this.problem = el('div');
    this.now = el('output', { class: 'now small' });
    this.tracks = new Tracks(t => { this.stop(); this.go(t); });
    this.memory = el('section');
    this.slider = el('input', { type: 'range', min: 0, value: 0, 'aria-label': 'step',
      on: { input: () => { this.stop(); this.go(+this.slider.value); } } });
    this.button = el('button', { type: 'button', class: 'play', text: 'Play',
      on: { click: () => this.play() } });
    this.speed = el('select', { 'aria-label': 'inputs per second' }, SPEEDS.map(each =>
      el('option', { value: each, text: `${each}/s`, selected: each === 4 })));
    const field = name => el('input', { type: 'number', min: 0, style: { width: '76px' },
      'aria-label': name, on: { change: () =>
        this.open(+this.length.value, +this.seed.value, 0) } });
    this.length = field('length');
    this.seed = field('seed');
    const other = el('button', { type: 'button', text: 'Another sequence', on: { click: () =>
      this.open(+this.length.value, +this.seed.value + 1, 0) } });
    this.node = el('div', {}, el('div', { class: 'bar' }, this.title, other,
      el('label', { class: 'small' }, 'length ', this.length),
      el('label', { class: 'small' }, 'seed ', this.seed)), this.problem,
    el('div', { class: 'transport' }, this.button, this.slider, this.speed), this.now,
    this.tracks.node, this.memory);
    document.addEventListener('keydown', event => this.key(event), { signal });
    signal.addEventListener('abort', () => this.stop());
  }

  async open(length, seed, t) {
    this.stop();
    [this.length.value, this.seed.value] = [length, seed];
    const { run } = this.query;
    try {
      this.found = await get('task', { run, length, seed }, { signal: this.signal });
    } catch (error) {
      if (!this.signal.aborted) this.problem.replaceChildren(fault(error.message));
      return;
    }
    this.problem.replaceChildren();
    this.slider.max = this.found.inputs.length - 1;
    this.fill();
    this.go(t);
  }

  /** A row of pictures for all that has a value a step. */
  fill() {
    const { found } = this;
    this.tracks.clear(found.inputs.length);
    const add = (name, rows, unit, colour) => {
      const flat = rows.flat();
      const most = Math.max(1, ...flat.map(Math.abs));
      const signed = flat.some(each => each < -0.01);
      const drawn = heat(mapOf(rows, signed ? -most : 0, most), signed ? null : colour);
      this.tracks.add({ name, unit: `${unit}${signed ? number(-most, 2) : 0} to ${number(most, 2)}`,
        high: Math.max(36, Math.min(120, rows[0].length * 6)), draw: (draw, x, wide, high) => {
          draw.save();
          draw.beginPath();  // what has not come yet is not shown
          draw.rect(0, 0, x(this.t + 0.5), high);
          draw.clip();
          drawn(draw, x, wide, high);
          draw.restore();
        } });
    };
    add('input', found.inputs, '', css('game'));
    add('wanted', found.targets, '', css('reconstruction'));
    add('answer', found.outputs, '', css('one-step'));
    if (!found.usage) return;
    const slots = `${found.usage[0].length} slots, `;
    add('usage', found.usage, slots, css('dnc'));
    add('written', found.write_weights, 'slots, ', css('dnc'));
    found.read_weights[0].forEach((_, head) => add(`read ${head + 1}`,
      found.read_weights.map(each => each[head]), 'slots, ', css('dnc')));
  }

  go(t) {
    const { found } = this;
    if (!found) return;
    this.t = Math.max(0, Math.min(found.inputs.length - 1, Math.round(t)));
    this.slider.value = this.t;
    this.tracks.place(this.t);
    this.tracks.repaint();
    const said = values => values.map(each => number(each, 2)).join(' ');
    this.now.textContent = `t ${this.t} of ${found.inputs.length}, ${found.asked[this.t]
      ? `asked: wanted ${said(found.targets[this.t])}, answered ${said(found.outputs[this.t])}`
      : 'nothing is asked'}; ${found.means} ${number(found.error, 3)}, ${
      found.right ? 'all of it right' : 'not all of it right'}`;
    this.drawMemory();
    note('task', { run: this.query.run, length: this.length.value, seed: this.seed.value,
      t: this.t });
  }

  drawMemory() {
    const { found, t } = this;
    if (!found.usage) {
      this.memory.replaceChildren(el('p', { class: 'pale small',
        text: 'This net is an LSTM: there is no memory to look at.' }));
      return;
    }
    const here = Object.fromEntries(['write_gate', 'allocation_gate', 'free_gates', 'read_modes']
      .map(name => [name, found[name][t]]));
    this.memory.replaceChildren(el('h2', { text: `The memory after t ${t}` }),
      el('div', { class: 'moment' },
        found.memory ? matrix('memory M, a row a slot', found.memory[t]) : null,
        matrix('usage, written, read', [found.usage[t], found.write_weights[t],
          ...found.read_weights[t]], 1), gates({ ...here, modes: found.modes })));
  }

  play() {
    if (this.timer) { this.stop(); return; }
    if (this.t >= this.found.inputs.length - 1) this.go(0);
    this.button.textContent = 'Pause';
    const next = () => {
      if (this.t >= this.found.inputs.length - 1) { this.stop(); return; }
      this.go(this.t + 1);
      this.timer = setTimeout(next, 1000 / +this.speed.value);
    };
    this.timer = setTimeout(next, 1000 / +this.speed.value);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.button.textContent = 'Play';
  }

  key(event) {
    if (event.target.matches('input, select') || event.ctrlKey || event.metaKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { this.stop(); this.go(this.t + step); }
    else if (event.key === ' ' && !event.target.matches('button, a')) this.play();
    else return;
    event.preventDefault();
  }
}

/** Rows a step as bytes (N, T), as the server sends maps. */
function mapOf(rows, low, high) {
  const [steps, wide] = [rows.length, rows[0].length];
  const data = new Uint8Array(steps * wide);
  rows.forEach((row, t) => row.forEach((each, at) => {
    const share = (each - low) / (high - low);
    data[at * steps + t] = 255 * Math.max(0, Math.min(1, share));
  }));
  return { data, shape: [wide, steps] };
}

// A net at work on a sequence of its task or on sprites, input by input: what it sees, answers and
// remembers.

import { get } from './api.js';
import { note } from './app.js';
import { css, el, fault, number } from './dom.js';
import { film, Frames } from './frames.js';
import { tabs } from './run.js';
import { save } from './save.js';
import { gates, heat, matrix } from './trace.js';
import { lines, Tracks } from './tracks.js';

const SPEEDS = [2, 4, 8, 16];  // inputs per second
const PICTURES = [['shown', 'game'], ['comes next', 'reconstruction'], ['predicted', 'one-step']];

export async function taskPage(node, query, signal) {
  const summary = await get('run', { run: query.run }, { signal });
  node.append(tabs(query.run, 'task', summary));
  const { task } = summary.config;
  const work = new Work(query, task || 'the next sprite', signal);
  node.append(work.node);
  await work.open(+(query.length || (task ? 12 : 60)), +(query.seed || 0), +(query.t || 0));
}

class Work {
  constructor(query, task, signal) {
    Object.assign(this, { query, task, signal, t: 0 });
    this.title = el('h1', { text: task.replaceAll('_', ' ') });
    this.problem = el('div');
    this.now = el('output', { class: 'now small' });
    this.tracks = new Tracks(t => { this.stop(); this.go(t); });
    this.memory = el('section');
    this.pictures = el('div', { class: 'films three' });
    this.films = {};
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
      el('label', { class: 'small' }, 'seed ', this.seed), el('button', { type: 'button',
        text: 'CSV', title: 'save the sequence, a line a step', on: { click: () => save(
          `${query.run.replaceAll('/', '-')}-${this.seed.value}.csv`, 'sequence', { run: query.run,
            length: this.length.value, seed: this.seed.value })
          .catch(error => this.problem.replaceChildren(fault(error.message))) } })), this.problem,
    this.pictures, el('div', { class: 'transport' }, this.button, this.slider, this.speed), this.now,
    this.tracks.node, this.memory);
    document.addEventListener('keydown', event => this.key(event), { signal });
    signal.addEventListener('abort', () => {
      this.stop();
      this.close();
    });
  }

  close() {
    Object.values(this.films).forEach(each => each.frames.close());
    this.films = {};
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
    this.steps = (this.found.inputs || this.found.actions).length;
    this.slider.max = this.steps - 1;
    this.close();
    if (this.found.actions) this.openPictures({ run, length, seed });
    this.fill();
    this.go(t);
  }

  /** The sprite that is shown, the next one, and what the net says comes next. */
  openPictures(where) {
    this.films = Object.fromEntries(PICTURES.map(([kind, colour]) => {
      const frames = new Frames({ ...where, kind }, this.steps, () => this.drawPictures(),
        error => { this.now.textContent = error.message; }, 'sprites');
      return [kind, { ...film(kind, css(colour)), frames }];
    }));
    this.pictures.replaceChildren(...Object.values(this.films).map(each => each.node));
  }

  drawPictures() {
    for (const each of Object.values(this.films)) each.show(each.frames.at(this.t));
    if (this.films.predicted)
      this.films.predicted.words.textContent = `${this.found.wrong[this.t]} wrong`;
  }

  /** A row of pictures for all that has a value a step. */
  fill() {
    const { found } = this;
    this.tracks.clear(this.steps);
    const add = (name, rows, unit, colour, least = 36) => {
      const flat = rows.flat();
      const most = Math.max(1, ...flat.map(Math.abs));
      const signed = flat.some(each => each < -0.01);
      const drawn = heat(mapOf(rows, signed ? -most : 0, most), signed ? null : colour);
      this.tracks.add({ name, unit: `${unit}${signed ? number(-most, 2) : 0} to ${number(most, 2)}`,
        high: Math.max(least, Math.min(120, rows[0].length * 6)), draw: this.sofar(drawn) });
    };
    if (found.actions) {
      add('sprite', found.factors, `${found.names.join(', ')}: `, css('game'), 66);
      add('action', found.actions, 'to the next sprite, ', css('game'), 50);
      this.tracks.add({ name: 'wrong', unit: 'pixels', high: 44, draw: this.sofar(lines([{
        values: found.wrong, colour: css('one-step') }], { from: 0 })) });
    } else {
      add('input', found.inputs, '', css('game'));
      add('wanted', found.targets, '', css('reconstruction'));
      add('answer', found.outputs, '', css('one-step'));
    }
    if (found.h) add('h', found.h, `${found.h[0].length} units, `);
    if (!found.usage) return;
    const slots = `${found.usage[0].length} slots, `;
    add('usage', found.usage, slots, css('dnc'));
    add('written', found.write_weights, 'slots, ', css('dnc'));
    found.read_weights[0].forEach((_, head) => add(`read ${head + 1}`,
      found.read_weights.map(each => each[head]), 'slots, ', css('dnc')));
  }

  /** Draws a track up to the cursor: what has not come yet is not shown. */
  sofar(drawn) {
    return (draw, x, wide, high) => {
      draw.save();
      draw.beginPath();
      draw.rect(0, 0, x(this.t + 0.5), high);
      draw.clip();
      drawn(draw, x, wide, high);
      draw.restore();
    };
  }

  go(t) {
    const { found } = this;
    if (!found) return;
    this.t = Math.max(0, Math.min(this.steps - 1, Math.round(t)));
    this.slider.value = this.t;
    this.tracks.place(this.t);
    this.tracks.repaint();
    this.now.textContent = `t ${this.t} of ${this.steps}, ${this.told()}`;
    this.drawPictures();
    this.drawMemory();
    note('task', { run: this.query.run, length: this.length.value, seed: this.seed.value,
      t: this.t });
  }

  /** What happens at the cursor, in words. */
  told() {
    const { found, t } = this;
    if (found.actions)
      return `${found.wrong[t]} pixels of the next image are wrong, on average ${
        number(found.error, 3)}`;
    const said = values => values.map(each => number(each, 2)).join(' ');
    return `${found.asked[t]
      ? `asked: wanted ${said(found.targets[t])}, answered ${said(found.outputs[t])}`
      : 'nothing is asked'}; ${found.means} ${number(found.error, 3)}, ${
      found.right ? 'all of it right' : 'not all of it right'}`;
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
    if (this.t >= this.steps - 1) this.go(0);
    this.button.textContent = 'Pause';
    const next = () => {
      if (this.t >= this.steps - 1) { this.stop(); return; }
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

// Recorded episodes under one time cursor.

import { get } from './api.js';
import { link, note } from './app.js';
import { css, el, fault, number, say } from './dom.js';
import { EpisodeList } from './episodes.js';
import { film, Frames } from './frames.js';
import { tabs } from './run.js';
import { save } from './save.js';
import { TraceView } from './trace.js';
import { lines, Tracks } from './tracks.js';

const SPEEDS = [8, 15, 35, 70, 140];  // frames per second
const SERIES = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];

export async function rolloutsPage(node, query, signal) {
  const { run } = query;
  const summary = await get('run', { run }, { signal });
  const stores = Object.keys(summary.stores || {});
  node.append(tabs(run, 'rollouts', summary));
  if (!stores.length) throw new Error('This run keeps no rollouts.');
  const store = stores.includes(query.store) ? query.store : stores[0];
  const columns = await get('episodes', { run, store }, { signal });
  for (const problem of columns.problems) node.append(fault(problem));
  const desk = new Desk(run, store, query, signal);
  desk.models = summary.parts.model;
  desk.branches = summary.parts.pixels;
  const list = new EpisodeList(columns, episode => desk.open(episode, 0));
  desk.opened = episode => list.mark(episode);
  const choice = el('select', { 'aria-label': 'rollouts of this run', on: { change: event => {
    location.hash = link('rollouts', { run, store: event.target.value });
  } } }, stores.map(each => el('option', { value: each, text: each, selected: each === store })));
  const about = [columns.game, ...Object.entries(columns.settings || {}).map(
    ([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)]
    .filter(Boolean).join(' · ');
  node.append(el('div', { class: 'rollouts' },
    el('div', {}, el('div', { class: 'bar' }, choice), list.node,
      el('p', { class: 'pale small', text: about })), desk.node));
  const first = query.episode === undefined ? columns.episode[0] : +query.episode;
  if (first === undefined) desk.say('There is no episode yet.');
  else await desk.open(first, +query.t || 0);
}

/** One open episode: films, transport, tracks. */
class Desk {
  constructor(run, store, query, signal) {
    Object.assign(this, { run, store, query, signal, t: 0, timer: null, opened: () => {} });
    const given = name => (query[name] === undefined ? undefined : +query[name]);
    this.settings = { context: given('context'), temperature: given('temperature'),
      seed: given('seed') ?? 0 };
    this.title = el('h1', { text: '\u00a0' });
    this.films = el('div', { class: 'films' });
    this.real = film('game', css('game'));
    this.tracks = new Tracks(t => { this.stop(); this.go(t); });
    this.now = el('output', { class: 'now small' });
    this.slider = el('input', { type: 'range', min: 0, max: 0, value: 0, 'aria-label': 'time step',
      on: { input: () => { this.stop(); this.go(+this.slider.value); } } });
    this.button = el('button', { type: 'button', class: 'play', text: 'Play',
      on: { click: () => this.play() } });
    this.speed = el('select', { 'aria-label': 'frames per second', on: { change: () => {
      if (this.timer) { this.stop(); this.play(); }
    } } }, SPEEDS.map(each => el('option', { value: each, text: `${each}/s`,
      selected: each === 35 })));
    this.node = el('div', { dataset: { picture: '' } }, el('div', { class: 'bar' }, this.title),
      this.films,
      el('div', { class: 'transport' }, this.button, this.slider, this.speed, this.exports()),
      this.now,
      this.tracks.node, el('p', { class: 'pale small', text: 'Drag in a track or use ← → (with '
        + 'shift: 10 steps) to move, space plays. The address opens this view again.' }));
    const keys = event => this.key(event);
    document.addEventListener('keydown', keys);
    signal.addEventListener('abort', () => {
      document.removeEventListener('keydown', keys);
      this.stop();
      this.frames?.close();
      this.view?.close();
    });
  }

  /** Buttons that save what is shown. */
  exports() {
    const name = kind => `${this.run.replaceAll('/', '-')}-${this.episode.episode}.${kind}`;
    const file = (kind, path, more = {}) => el('button', { type: 'button', text: kind,
      title: `save the episode as ${kind}`, on: { click: async event => {
        if (!this.episode) return;
        const button = event.currentTarget;
        button.disabled = true;
        say(`The ${kind} is being made …`);
        const where = { run: this.run, store: this.store, episode: this.episode.episode };
        const dream = this.view ? this.settings : {};
        await save(name(kind.toLowerCase()), path, { ...where, ...dream, ...more })
          .then(() => say(''), error => say(error.message));
        button.disabled = false;
      } } });
    return el('div', { class: 'bar exports', role: 'group', 'aria-label': 'save as' },
      file('GIF', 'film'), file('CSV', 'table'));
  }

  say(text) {
    this.title.textContent = text;
  }

  async open(episode, t) {
    this.stop();
    this.view?.close();
    if (this.episode && this.episode.episode !== episode) this.settings.context = undefined;
    this.wanted = episode;
    this.opened(episode);
    const where = { run: this.run, store: this.store, episode };
    let found;
    try {
      found = await get('episode', where, { signal: this.signal });
    } catch (error) {
      if (this.signal.aborted || this.wanted !== episode) return;
      this.episode = null;
      this.films.replaceChildren(fault(error.message));
      this.tracks.clear(1);
      this.say(`episode ${episode}`);
      return;
    }
    if (this.wanted !== episode) return;  // another was chosen meanwhile
    this.episode = found;
    this.frames?.close();
    this.frames = new Frames(where, found.length, () => this.draw(),
      error => this.now.replaceChildren(error.message));
    this.slider.max = found.length - 1;
    this.say(`${found.title}, ${found.ending}`);
    this.films.replaceChildren(this.real.node);
    if (this.branches) this.films.append(this.branch(where));
    this.view?.close();
    this.view = null;
    this.fill();
    this.go(t);
    if (this.models) this.look(where);
  }

  /** The button that dreams on from the step at the cursor, where there are no films beside it. */
  branch(where) {
    return el('button', { type: 'button', text: 'Play on from here', on: { click: () => {
      location.hash = link('dream', { ...where, t: this.t });
    } } });
  }

  /** Have V and M look at the episode too. */
  async look(where) {
    const view = this.view = new TraceView(this, where, this.settings);
    say('V and M look at the episode …');
    try {
      await view.load();
    } catch (error) {
      if (!view.closed && !this.signal.aborted) this.films.after(fault(error.message));
    }
    if (this.view === view) say('');
  }

  fill() {
    const { actions, rewards, length } = this.episode;
    this.tracks.clear(length);
    const axes = actions[0].map((_, axis) => ({ values: actions.map(each => each[axis]),
      colour: SERIES[axis % SERIES.length] }));
    this.tracks.add({ name: 'action', unit: axes.length > 1 ? `${axes.length} numbers` : '',
      draw: lines(axes), words: `${length} steps.` });
    let sum = 0;
    const total = rewards.map(each => sum += each);
    const plainly = rewards.every(each => each === rewards[0]);
    this.tracks.add({ name: 'reward', unit: 'of each step', draw: lines([], { bars: rewards }),
      high: plainly ? 26 : 44 });
    this.tracks.add({ name: 'return', unit: 'so far', high: 44,
      draw: lines([{ values: total, colour: css('agent') }]), words: `Ends at ${number(sum)}.` });
    this.total = total;
  }

  go(t) {
    if (!this.episode) return;
    this.t = Math.max(0, Math.min(this.episode.length - 1, Math.round(t)));
    this.draw();
    this.noted();
  }

  /** Have the address say what is shown, once it rests. */
  noted() {
    clearTimeout(this.noting);
    this.noting = setTimeout(() => this.signal.aborted || note('rollouts', this.address()), 200);
  }

  address() {
    return { run: this.run, store: this.store, episode: this.episode.episode, t: this.t,
      ...(this.view ? this.settings : {}) };
  }

  draw() {
    if (!this.episode) return;
    const { t, episode } = this;
    this.real.show(this.frames.at(t));
    this.real.words.textContent = `t ${t}`;
    this.view?.draw();
    this.slider.value = t;
    this.tracks.place(t);
    const action = episode.actions[t].map(each => number(each, 3)).join(', ');
    this.now.textContent = `t ${t} of ${episode.length}, action ${action}, reward ${
      number(episode.rewards[t])}, return ${number(this.total[t], 5)}`;
  }

  play() {
    if (this.timer || !this.episode) { this.stop(); return; }
    const from = this.t >= this.episode.length - 1 ? 0 : this.t;
    const start = performance.now();
    const next = now => {
      this.go(from + (now - start) / 1000 * +this.speed.value);
      if (this.t >= this.episode.length - 1) { this.stop(); return; }
      this.timer = requestAnimationFrame(next);
    };
    this.button.textContent = 'Pause';
    this.timer = requestAnimationFrame(next);
  }

  stop() {
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.button.textContent = 'Play';
  }

  key(event) {
    if (event.target.matches('input[type="search"], input[type="number"], select')) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !event.target.matches('input')) {
      this.stop();
      this.go(this.t + step * (event.shiftKey ? 10 : 1));
      event.preventDefault();
    }
    if (event.key === ' ' && !event.target.matches('button, a, input')) {
      this.play();
      event.preventDefault();
    }
  }
}

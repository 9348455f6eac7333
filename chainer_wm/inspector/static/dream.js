// Play inside the dream, or the game: the newest frame is drawn, keys go back, and where nobody
// plays the run's own player does.

import { get, renewToken, token } from './api.js';
import { note } from './app.js';
import { bytes, el, fault, number } from './dom.js';
import { paintFrame } from './frames.js';
import { tabs } from './run.js';
import { download } from './save.js';

const HEAD = 32;  // bytes before the pixels, as live.py packs them
const KEYS = { ArrowLeft: [0, -1], a: [0, -1], ArrowRight: [0, 1], d: [0, 1],
  ArrowDown: [1, -1], s: [1, -1], ArrowUp: [1, 1], w: [1, 1] };

export async function dreamPage(node, query, signal) {
  const { run } = query;
  const summary = await get('run', { run }, { signal });
  node.append(tabs(run, 'dream', summary));
  const { model, pixels, game } = summary.parts || {};
  if (!model && !pixels && !game)
    throw new Error('This run has no M yet, and its game is not known: there is nothing to play.');
  const player = new Player(query, signal);
  node.append(player.node);
  player.connect();
}

class Player {
  constructor(query, signal) {
    Object.assign(this, { query, signal, pressed: new Map(), times: [], paused: false,
      place: query.place });
    this.seed = +(query.seed || 0);
    this.canvas = el('canvas', { width: 64, height: 64, class: 'screen', tabIndex: 0,
      role: 'application', 'aria-label': 'the screen: arrow keys play, G gives back to the '
        + 'controller, R starts again, space pauses' });
    this.words = el('output', { class: 'now' });
    this.rate = el('span', { class: 'pale small' });
    this.who = el('button', { type: 'button', class: 'main', text: 'Take over',
      on: { click: () => this.take(!this.taken) } });
    this.hold = el('button', { type: 'button', text: 'Pause', on: { click: () => this.pause() } });
    this.temperature = el('input', { type: 'range', min: 0.1, max: 2, step: 0.05,
      value: query.temperature || 1, 'aria-label': 'temperature', on: { input: () => {
        this.send({ temperature: +this.temperature.value });
        this.noted();
      } } });
    this.degrees = el('output', { class: 'small' });
    this.heat = el('div', { class: 'bar' }, el('span', { text: 'temperature' }), this.temperature,
      this.degrees);
    this.places = el('div', { class: 'bar', role: 'group', 'aria-label': 'where you play' });
    this.recording = el('button', { type: 'button', text: 'Record a GIF', on: { click: () =>
      this.send({ record: !this.recorded }) } });
    this.film = el('span', { class: 'small' });
    this.number = el('input', { type: 'number', min: 0, value: this.seed, 'aria-label': 'seed',
      style: { width: '84px' }, on: { change: () => this.restart(+this.number.value) } });
    this.fps = el('select', { 'aria-label': 'frames per second', on: { change: () =>
      this.send({ fps: +this.fps.value }) } }, [8, 20, 35, 50].map(each =>
      el('option', { value: each, text: `${each}/s`, selected: each === 35 })));
    const again = el('button', { type: 'button', text: 'Start again',
      on: { click: () => this.restart(this.seed) } });
    const other = el('button', { type: 'button', text: 'Another seed',
      on: { click: () => this.restart(this.seed + 1) } });
    this.problem = el('div');
    this.node = el('div', {}, this.problem, el('div', { class: 'player live' },
      el('div', {}, this.canvas, this.pads()),
      el('div', {}, this.places, this.words,
        el('div', { class: 'bar' }, this.who, this.hold, again, other), this.heat,
        el('div', { class: 'bar' }, el('label', {}, 'seed ', this.number), this.fps, this.rate),
        el('div', { class: 'bar' }, this.recording, this.film),
        el('p', { class: 'pale small', text: 'Arrow keys (or A D W S) take over and play; G gives '
          + 'back to the controller; R starts again; space pauses. Nothing pressed is no '
          + 'action.' }),
        query.episode === undefined ? null : el('p', { class: 'small',
          text: `Branched off episode ${query.episode} at t ${query.t || 0}.` }))));
    this.listen();
  }

  /** Buttons for a finger. */
  pads() {
    const pad = (text, key, name) => {
      const release = () => { this.pressed.delete(key); this.tell(); };
      return el('button', { type: 'button', text, 'aria-label': name, on: {
        pointerdown: () => { this.pressed.set(key, true); this.take(true); this.tell(); },
        pointerup: release, pointerleave: release, pointercancel: release } });
    };
    return el('div', { class: 'pads' }, pad('◀', 'ArrowLeft', 'left'),
      pad('▲', 'ArrowUp', 'up'), pad('▼', 'ArrowDown', 'down'), pad('▶', 'ArrowRight', 'right'));
  }

  listen() {
    const down = event => {
      if (event.ctrlKey || event.metaKey || event.altKey
        || event.target.matches('input, select')) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (KEYS[key]) {
        event.preventDefault();
        if (event.repeat) return;
        this.pressed.set(key, true);
        this.take(true);
        this.tell();
      } else if (key === 'g') this.take(false);
      else if (key === 'r') this.restart(this.seed);
      else if (key === ' ' && !event.target.matches('button, a')) this.pause();
      else return;
      event.preventDefault();
    };
    const up = event => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (this.pressed.delete(key)) this.tell();
    };
    const lost = () => { this.pressed.clear(); this.tell(); };
    const on = [[document, 'keydown', down], [document, 'keyup', up], [window, 'blur', lost]];
    for (const [target, event, listener] of on)
      target.addEventListener(event, listener, { signal: this.signal });
    this.signal.addEventListener('abort', () => this.socket?.close());
  }

  connect() {
    const { run, store, episode, t } = this.query;
    const given = Object.entries({ run, store, episode, t, seed: this.seed, place: this.place,
      token: token() })
      .filter(([, value]) => value !== undefined);
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/api/live?${
      new URLSearchParams(given)}`);
    this.socket.binaryType = 'arraybuffer';
    this.words.textContent = 'It is being loaded …';
    this.socket.onmessage = ({ data }) => {
      if (typeof data === 'string') this.told(JSON.parse(data));
      else if (!new DataView(data).getUint32(0, true)) this.filmed(data.slice(HEAD));
      else {
        this.newest = data;
        this.due ||= requestAnimationFrame(() => this.draw());
      }
    };
    this.socket.onclose = () => {
      if (this.signal.aborted) return;
      cancelAnimationFrame(this.due);  // in a hidden tab one is still due
      this.due = null;
      this.words.replaceChildren('The connection is cut off. ', el('button', { type: 'button',
        text: 'Connect again', on: { click: async () => {
          this.problem.replaceChildren();
          await renewToken();
          this.connect();
        } } }));
    };
  }

  /** What the server says of a place, or what is wrong. */
  told({ error, problem, place, places, temperature, counted, actions, fps, player }) {
    this.problem.replaceChildren(...(error || problem ? [fault(error || problem)] : []));
    if (!place) return;
    Object.assign(this, { actions, place, player, counted });
    this.who.disabled = !player;
    this.places.replaceChildren(...places.map(each => el('button', { type: 'button', text: each,
      'aria-pressed': String(each === place), on: { click: () => this.go(each) } })));
    this.heat.classList.toggle('hidden', place !== 'dream');
    this.canvas.classList.toggle('real', place === 'game');
    if (place === 'dream') {
      if (this.query.temperature) this.send({ temperature: +this.temperature.value });
      else this.temperature.value = temperature;
    }
    if (![...this.fps.options].some(each => +each.value === fps))
      this.fps.append(el('option', { value: fps, text: `${fps}/s` }));
    this.fps.value = fps;
    if (this.paused) this.pause();
    this.noted();
  }

  go(place) {
    this.canvas.focus();
    this.send({ place });
  }

  /** A film has come: offer it, and save it. */
  filmed(data) {
    const name = `${this.query.run.replaceAll('/', '-')}-${this.place}-${this.seed}.gif`;
    download(new Blob([data], { type: 'image/gif' }), name);
    this.film.textContent = `${name}, ${bytes(data.byteLength)}`;
  }

  draw() {
    this.due = null;
    const view = new DataView(this.newest);
    const [count, steps] = [view.getUint32(0, true), view.getUint32(4, true)];
    const [action, ends, total] = [8, 12, 16].map(at => view.getFloat32(at, true));
    const [flags, high, wide] = [20, 24, 28].map(at => view.getUint32(at, true));
    paintFrame(this.canvas, { data: new Uint8Array(this.newest, HEAD), high, wide });
    this.canvas.style.setProperty('aspect-ratio', `${wide} / ${high}`);
    this.send({ seen: count });
    this.taken = (flags & 2) > 0;
    this.who.textContent = this.taken ? 'Give back' : 'Take over';
    this.who.setAttribute('aria-pressed', String(this.taken));
    this.steps = steps;
    this.words.textContent = `${flags & 1 ? `The ${this.place} ended after` : 'lived'} ${
      steps} steps, ${this.taken ? 'you play' : 'the controller plays'}: action ${
      number(action, 2)}, ${this.counted === 'return' ? `return ${number(total, 4)}` : `P(done) ${ends.toFixed(3)}`}`;
    this.recorded = (flags & 4) > 0;
    this.recording.textContent = this.recorded ? 'End and save the GIF' : 'Record a GIF';
    this.recording.setAttribute('aria-pressed', String(this.recorded));
    const now = performance.now();
    this.times = [...this.times.filter(each => now - each < 1000), now];
    this.rate.textContent = `${this.times.length} frames/s`;
    this.canvas.dataset.steps = steps;
  }

  send(words) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(words));
  }

  /** The action of the keys that are down now. */
  tell() {
    const action = [];
    for (const key of this.pressed.keys()) {
      const [axis, value] = KEYS[key];
      action[axis] = (action[axis] || 0) + value;
    }
    const keys = Array.from({ length: this.actions || 1 }, (_, axis) => action[axis] || 0);
    this.send({ keys });
  }

  take(taken) {
    this.send({ take: taken });
  }

  pause() {
    this.paused = !this.paused;
    this.hold.textContent = this.paused ? 'Go on' : 'Pause';
    this.send({ paused: this.paused });
  }

  restart(seed) {
    this.seed = this.number.value = Math.max(0, Math.floor(seed) || 0);
    if (this.paused) this.pause();
    this.send({ restart: this.seed });
    this.noted();
  }

  noted() {
    this.degrees.textContent = (+this.temperature.value).toFixed(2);
    note('dream', { ...this.query, seed: this.seed, place: this.place,
      temperature: this.temperature.value });
  }
}

// The list of episodes: of ten thousand only the rows in sight are there.

import { el, number } from './dom.js';

const ROW = 26;  // pixels, as --row in style.css
const COLUMNS = [['episode', 'episode'], ['length', 'steps'], ['return', 'return'], ['end', 'end']];

/** A list box over the columns of /api/episodes; `chosen(episode)` is called on a choice. */
export class EpisodeList {
  constructor(columns, chosen) {
    Object.assign(this, { columns, chosen, sort: 'episode', up: true, word: '', at: 0 });
    this.view = el('div', { class: 'view', role: 'listbox', tabIndex: 0,
      'aria-label': 'episodes' });
    this.space = el('div');
    this.head = el('div', { class: 'head' });
    this.search = el('input', { type: 'search', placeholder: 'filter: 12, game, >100',
      title: 'a number of an episode or seed; game, limit or cut; >N or <N: the return',
      'aria-label': 'filter episodes by number, seed, end, or return above or below' });
    this.count = el('span', { class: 'pale small', role: 'status' });
    this.view.append(this.space);
    this.node = el('div', {}, el('div', { class: 'bar' }, this.search, this.count),
      el('div', { class: 'list' }, this.head, this.view));
    this.search.addEventListener('input', () => { this.word = this.search.value; this.arrange(); });
    this.view.addEventListener('scroll', () => this.draw());
    this.view.addEventListener('keydown', event => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.view);
    this.arrange();
  }

  /** Which rows, in which order. */
  arrange() {
    const all = this.columns.episode.map((_, index) => index).filter(index => this.fits(index));
    const values = this.columns[this.sort];
    all.sort((a, b) => (values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : a - b)
      * (this.up ? 1 : -1));
    this.order = all;
    this.space.style.setProperty('height', `${all.length * ROW}px`);
    this.count.textContent = `${number(all.length)} episodes`;
    this.head.replaceChildren(...COLUMNS.map(([key, text]) => el('button', { type: 'button',
      text: text + (key === this.sort ? (this.up ? ' ↑' : ' ↓') : ''),
      'aria-label': `sort by ${text}`, on: { click: () => {
        this.up = this.sort === key ? !this.up : key === 'episode';
        this.sort = key;
        this.arrange();
      } } })));
    this.at = Math.max(0, this.order.indexOf(this.columns.episode.indexOf(this.episode)));
    this.draw();
  }

  fits(index) {
    const { episode, game_seed: seed, end, return: returns } = this.columns;
    return this.word.trim().toLowerCase().split(/\s+/).filter(Boolean).every(word => {
      const limit = /^([<>])(-?\d+(\.\d+)?)$/.exec(word);
      if (limit) return limit[1] === '<' ? returns[index] < +limit[2] : returns[index] > +limit[2];
      return String(episode[index]) === word || String(seed[index]) === word
        || end[index].startsWith(word);
    });
  }

  draw() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - 4);
    const last = Math.min(this.order.length,
      first + Math.ceil(this.view.clientHeight / ROW) + 8);
    const rows = [];
    for (let place = first; place < last; place += 1) rows.push(this.row(place));
    this.space.replaceChildren(...rows);
  }

  row(place) {
    const index = this.order[place];
    const episode = this.columns.episode[index];
    return el('div', { class: 'item', role: 'option', id: `episode-${episode}`,
      'aria-selected': String(episode === this.episode), 'aria-posinset': place + 1,
      'aria-setsize': this.order.length, style: { top: `${place * ROW}px` },
      on: { click: () => { this.at = place; this.chosen(episode); } } },
    COLUMNS.map(([key]) => el('span', { text: number(this.columns[key][index], 4),
      class: key === 'end' ? 'pale' : '' })));
  }

  key(event) {
    const page = Math.floor(this.view.clientHeight / ROW) - 1;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page,
      Home: -this.order.length, End: this.order.length }[event.key];
    if (!step || !this.order.length) return;
    event.preventDefault();
    event.stopPropagation();
    this.at = Math.max(0, Math.min(this.order.length - 1, this.at + step));
    this.chosen(this.columns.episode[this.order[this.at]]);
  }

  /** Mark an episode as the one that is open. */
  mark(episode) {
    this.episode = episode;
    this.at = Math.max(0, this.order.indexOf(this.columns.episode.indexOf(episode)));
    const top = this.at * ROW;
    if (top < this.view.scrollTop || top + ROW > this.view.scrollTop + this.view.clientHeight)
      this.view.scrollTop = top - this.view.clientHeight / 2;
    this.view.setAttribute('aria-activedescendant', `episode-${episode}`);
    this.draw();
  }
}

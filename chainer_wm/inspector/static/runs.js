// The list of runs, and several of them side by side.

import { get } from './api.js';
import { link, note } from './app.js';
import { chart, colours } from './chart.js';
import { bytes, css, duration, el, fault, moment, number, plain } from './dom.js';
import { pictureButton } from './save.js';

const COLUMNS = [
  { key: 'run', name: 'run' },
  { key: 'game', name: 'game', hide: 'wide' },
  { key: 'model', name: 'core' },
  { key: 'preset', name: 'preset', hide: 'wide' },
  { key: 'seed', name: 'seed', number: true, hide: 'middle' },
  { key: 'stages', name: 'stages', hide: 'middle' },
  { key: 'score', name: 'score', number: true },
  { key: 'random', name: 'random', number: true, hide: 'middle' },
  { key: 'seconds', name: 'time', number: true, hide: 'wide' },
  { key: 'bytes', name: 'size', number: true, hide: 'wide' },
  { key: 'problems', name: 'integrity', hide: 'middle' },
  { key: 'when', name: 'changed', hide: 'wide' },
];
const REFRESH = 5000;  // ms, while a run is in training

const worth = {
  score: row => row.evaluation?.mean,
  random: row => row.random_baseline?.mean,
  stages: row => (row.done?.length ?? 0),
  problems: row => row.problems.length,
};
const value = (row, key) => (worth[key] ? worth[key](row) : row[key]);

export const core = name => (name
  ? el('span', { class: 'nowrap' }, el('i', { class: `dot ${name}` }), name) : '–');

/** Green and grey boxes, one a stage; the one at work breathes. */
export function pips(stages, done, running) {
  const count = `${done.length} of ${stages.length} stages done${running ? ', at work' : ''}`;
  if (stages.length > 14)
    return el('span', { class: 'nowrap', title: count }, `${done.length}/${stages.length}`,
      running ? el('span', { class: 'pips' }, el('i', { class: 'now' })) : null);
  return el('span', { class: 'pips', role: 'img', 'aria-label': count, title: count },
    stages.map(name => el('i', { class: done.includes(name) ? 'done' : running ? 'now' : '' })));
}

export async function runsPage(node, query, signal) {
  const state = { sort: query.sort || 'when', up: query.up === '1', chosen: new Set(), rows: [],
    word: query.word || '' };
  const search = el('input', { type: 'search', placeholder: 'filter: game, dnc, seed …',
    'aria-label': 'filter runs by words', value: state.word });
  const compare = el('button', { type: 'button', class: 'main', disabled: true,
    text: 'Side by side' });
  const count = el('span', { class: 'pale', role: 'status' });
  const table = el('table');
  node.append(el('div', { class: 'bar' }, search, compare, el('span', { class: 'spread' }), count),
    el('div', { class: 'scroll' }, table));
  const redraw = () => {
    fill(table, count, compare, state);
    note('runs', { word: state.word, sort: state.sort === 'when' ? '' : state.sort,
      up: state.up ? 1 : '' });
  };
  state.changed = redraw;
  search.addEventListener('input', () => { state.word = search.value; redraw(); });
  compare.addEventListener('click', () => {
    location.hash = link('compare', { runs: [...state.chosen].join(',') });
  });
  const load = async () => {
    const { path, runs } = await get('runs', {}, { signal });
    state.rows = runs;
    count.title = path;
    redraw();
    if (runs.some(row => row.running))
      setTimeout(() => signal.aborted || load().catch(() => {}), REFRESH);
  };
  await load();
}

function fill(table, count, compare, state) {
  const words = state.word.toLowerCase().split(/\s+/).filter(Boolean);
  const text = row => [row.run, row.experiment, row.game, row.model, row.preset, row.kind,
    `seed ${row.seed}`, row.running ? 'running training' : '',
    row.problems.length ? 'damaged problems' : 'ok'].join(' ').toLowerCase();
  const shown = state.rows.filter(row => words.every(word => text(row).includes(word)));
  const missing = each => each === null || each === undefined || each === '';
  shown.sort((a, b) => {
    const [x, y] = [value(a, state.sort), value(b, state.sort)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return (x < y ? -1 : x > y ? 1 : a.run < b.run ? -1 : 1) * (state.up ? 1 : -1);
  });
  count.textContent = shown.length === state.rows.length ? `${shown.length} runs`
    : `${shown.length} of ${state.rows.length} runs`;
  compare.disabled = state.chosen.size < 2;
  const head = COLUMNS.map(({ key, name, number: right, hide }) => {
    const sorted = state.sort === key ? (state.up ? 'ascending' : 'descending') : 'none';
    return el('th', { class: `${right ? 'number' : ''} ${hide || ''}`, scope: 'col',
      'aria-sort': sorted },
    el('button', { type: 'button', text: name, on: { click: () => {
      state.up = state.sort === key ? !state.up : ['run', 'game', 'model', 'seed'].includes(key);
      state.sort = key;
      state.changed();
      table.querySelector(`th[aria-sort$="ending"] button`)?.focus();
    } } }));
  });
  table.replaceChildren(
    el('caption', { class: 'hidden', text: 'runs' }),
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' },
      el('span', { class: 'skip', text: 'compare' })), head)),
    el('tbody', {}, shown.map(row => line(row, state, compare))));
}

function line(row, state, compare) {
  const box = el('input', { type: 'checkbox', checked: state.chosen.has(row.run),
    'aria-label': `compare ${row.run}`, disabled: row.kind !== 'run' });
  box.addEventListener('change', () => {
    if (box.checked) state.chosen.add(row.run); else state.chosen.delete(row.run);
    box.closest('tr').classList.toggle('chosen', box.checked);
    compare.disabled = state.chosen.size < 2;
  });
  const [score, random] = [row.evaluation, row.random_baseline];
  const cells = [
    el('a', { href: link('run', { run: row.run }), text: row.run === '.' ? 'this folder' : row.run }),
    row.kind === 'agent' ? 'packed agent' : row.game || '–',
    core(row.model),
    row.preset || '–',
    plain(row.seed),
    row.stages?.length ? pips(row.stages, row.done, row.running) : '–',
    score ? el('span', { class: 'nowrap' }, el('b', { text: number(score.mean) }),
      el('span', { class: 'pale', text: ` ± ${number(score.std)}` })) : '–',
    random ? number(random.mean) : '–',
    row.seconds ? duration(row.seconds) : '–',
    bytes(row.bytes),
    row.problems.length ? el('span', { class: 'bad', title: row.problems.join('\n'),
      text: `${row.problems.length} fault${row.problems.length > 1 ? 's' : ''}` })
      : el('span', { class: 'good', text: 'ok' }),
    el('span', { class: 'nowrap pale', text: row.running ? 'at work' : moment(row.when) }),
  ];
  return el('tr', { class: state.chosen.has(row.run) ? 'chosen' : '' }, el('td', {}, box),
    cells.map((cell, index) => el('td', { class:
      `${COLUMNS[index].number ? 'number' : ''} ${COLUMNS[index].hide || ''}` }, cell)));
}

/** Names without what they all share at their start. */
export function brief(names) {
  const folders = new Set(names.map(name => name.split('/').slice(0, -1).join('/')));
  return names.map(name => (folders.size === 1 ? name.split('/').pop() : name));
}

export async function comparePage(node, query, signal) {
  const names = (query.runs || '').split(',').filter(Boolean);
  if (names.length < 2) throw new Error('Choose two runs or more in the list of runs.');
  const found = await Promise.allSettled(names.map(async run => ({ run,
    ...await get('run', { run }, { signal }), curves: await get('curves', { run }, { signal }) })));
  for (const each of found.filter(one => one.reason)) node.append(fault(each.reason.message));
  const runs = found.filter(one => one.value).map(one => one.value);
  const labels = brief(runs.map(each => each.run));
  const models = runs.map(each => each.config.model);
  const both = new Set(models).size === runs.length;
  const free = colours(labels);
  const paint = labels.map((label, index) => (both && css(models[index])) || free[label]);
  node.append(el('div', { class: 'bar' }, el('h1', { text: labels.join('  ·  ') }),
    el('span', { class: 'spread' }), pictureButton('side-by-side.png')), el('p', { class: 'legend' },
    labels.map((label, index) => el('span', { class: 'nowrap' }, el('i', { class: 'dot',
      style: { background: paint[index] } }), label, ' \u00a0'))));
  node.append(section('Scores', scores(runs, labels)),
    section('Settings that differ', settings(runs, labels)));
  const shared = [...new Set(runs.flatMap(each => Object.keys(each.curves)))];
  const charts = shared.map(name => {
    const having = runs.map((each, index) => ({ ...each.curves[name], name: labels[index],
      colour: paint[index] })).filter(each => each.x);
    return having.length > 1 && chart({ title: name, xlabel: having[0].xlabel,
      ylabel: having[0].ylabel, log: having[0].log, series: having });
  }).filter(Boolean);
  node.append(section('Curves', charts.length ? el('div', { class: 'charts' }, charts)
    : el('p', { class: 'pale', text: 'They share no curve.' })));
}

const section = (title, ...children) => el('section', {}, el('h2', { text: title }), ...children);

function scores(runs, labels) {
  const named = runs.map(each => ({ ...each.scores, ...each.extra.scores }));
  const names = [...new Set(named.flatMap(each => Object.keys(each)))];
  if (!names.length) return el('p', { class: 'pale', text: 'None has a score yet.' });
  return table(['score', ...labels], names.map(name => [name.replaceAll('_', ' '), ...named.map(each => each[name]
    ? el('span', {}, number(each[name].mean, 4), each[name].std === undefined ? null
      : el('span', { class: 'pale', text: ` ± ${number(each[name].std)}` })) : '–')]));
}

function settings(runs, labels) {
  const names = [...new Set(runs.flatMap(each => Object.keys(each.config)))].filter(name =>
    new Set(runs.map(each => JSON.stringify(each.config[name]))).size > 1);
  if (!names.length) return el('p', { class: 'pale', text: 'No setting differs.' });
  return table(['setting', ...labels], names.map(name =>
    [name, ...runs.map(each => plain(each.config[name]))]));
}

function table(head, rows) {
  return el('div', { class: 'scroll' }, el('table', {},
    el('thead', {}, el('tr', {}, head.map(each => el('th', { scope: 'col', text: each })))),
    el('tbody', {}, rows.map(([first, ...rest]) => el('tr', {},
      el('th', { scope: 'row', text: first }), rest.map(each => el('td', {}, each)))))));
}

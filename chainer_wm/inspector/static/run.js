// One run: scores, stages, curves, figures, settings, and what is wrong with it.

import { address, get } from './api.js';
import { link } from './app.js';
import { chart, colours } from './chart.js';
import { bytes, duration, el, fault, moment, number, plain, say } from './dom.js';
import { core, pips } from './runs.js';
import { pictureButton, save } from './save.js';

const HELD_OUT = /^(validation|held[-_]out)[/ ](main\/)?/;  // what starts such a log's names
const REFRESH = 5000;  // ms, while the run is in training

/** The links to all pages of a run. */
export function tabs(run, page, summary) {
  const found = [['run', 'overview']];
  const stores = Object.keys(summary.stores || {});
  if (stores.length) found.push(['rollouts', 'rollouts']);
  if (summary.parts?.vision) found.push(['latent', 'latent space']);
  const { model, pixels, game } = summary.parts || {};
  if (model || pixels || game) found.push(['dream', model || pixels ? 'dream player' : 'game']);
  if (summary.parts?.task) found.push(['task', 'at work']);
  return el('div', { class: 'tabs' }, el('nav', { 'aria-label': 'pages of this run' },
    found.map(([to, text]) => el('a', { href: link(to, { run }), text,
      'aria-current': to === page ? 'page' : null }))),
  pictureButton(`${run.replaceAll('/', '-')}-${page}.png`));
}

export async function runPage(node, query, signal) {
  const { run } = query;
  const hidden = new Map();
  const load = async () => {
    const [summary, curves] = await Promise.all([get('run', { run }, { signal }),
      get('curves', { run }, { signal }).catch(error => ({ error }))]);
    node.replaceChildren(tabs(run, 'run', summary));
    if (curves.error && !signal.aborted) node.append(fault(curves.error.message));
    if (!summary.config) node.append(el('p', {}, 'A packed agent: ', el('a', {
      href: link('dream', { run }), text: 'play inside its dream' })));
    if (summary.config) fill(node, run, summary, curves.error ? {} : curves, hidden);
    if (!summary.running) return;
    say('in training: watched every 5 s');
    setTimeout(() => signal.aborted || load().catch(error => say(error.message)), REFRESH);
  };
  await load();
}

function fill(node, run, summary, curves, hidden) {
  for (const problem of summary.problems) node.append(fault(problem));
  for (const [name, store] of Object.entries(summary.stores))
    for (const problem of store.problems) node.append(fault(`${name}: ${problem}`));
  const stages = Object.entries(summary.stages);
  const done = stages.filter(([, each]) => each.done).map(([name]) => name);
  node.append(cards(summary, stages, done));
  const left = el('div'), right = el('aside');
  node.append(el('div', { class: 'columns' }, left, right));
  if (Object.keys(curves).length) left.append(section('Curves', charts(curves, hidden),
    el('p', {}, el('button', { type: 'button', text: 'CSV', title: 'save the curves', on: {
      click: () => save(`${run.replaceAll('/', '-')}-curves.csv`, 'points', { run })
        .catch(error => say(error.message)) } }))));
  if (summary.figures.length) left.append(section('Figures', figures(run, summary.figures)));
  if (stages.length) right.append(section('Stages', stageTable(stages, summary.running)));
  const scores = { ...summary.scores, ...summary.extra.scores };
  if (Object.keys(scores).length) right.append(section('Scores', scoreTable(scores)));
  right.append(section('Rollouts', rollouts(run, summary.stores)));
  right.append(section('Settings', settings(summary.config)));
  right.append(section('Versions', pairs({ ...summary.versions,
    commits: (summary.extra.commits || []).join(', ') || undefined })));
  right.append(section('On disk', pairs(Object.fromEntries(Object.entries(summary.disk).map(
    ([name, size]) => [name, bytes(size)])))));
  if (summary.log.length) right.append(section('End of the log', el('pre', { class: 'log',
    text: summary.log.map(({ time, ...rest }) => `${moment(time)}  ${Object.entries(rest)
      .map(([name, value]) => `${name} ${plain(value)}`).join(', ')}`).join('\n') })));
}

const section = (title, ...children) => el('section', {}, el('h2', { text: title }), ...children);

function cards(summary, stages, done) {
  const card = (name, value, more = '') => el('div', { class: 'card' },
    el('span', { class: 'pale small', text: name }), el('b', {}, value),
    el('span', { class: 'pale small' }, more || '\u00a0'));
  const found = [card('core', core(summary.config.model), `seed ${plain(summary.config.seed)}, ${
    summary.config.preset || 'no preset'}`)];
  if (stages.length)
    found.push(card(summary.running ? 'at work' : 'stages', `${done.length} of ${stages.length}`,
      pips(stages.map(([name]) => name), done, summary.running)));
  const random = summary.scores.random_baseline;
  const top = Object.entries(summary.scores).filter(([name]) => !name.includes('.'));
  for (const [name, score] of top.slice(0, 4)) {
    const beside = name === 'evaluation' && random ? `random ${number(random.mean)}, ` : '';
    found.push(card(name.replaceAll('_', ' '), number(score.mean), `± ${number(score.std)}, ${
      beside}${score.episodes} episodes`));
  }
  return el('div', { class: 'cards' }, found);
}

/** A chart for each curve; what one log measured in one unit (train, held-out) shares a chart. */
function charts(curves, hidden) {
  const groups = new Map();
  for (const [name, each] of Object.entries(curves)) {
    const unit = each.ylabel.replace(HELD_OUT, '');
    const key = each.log_of ? `${each.log_of}: ${unit}` : name;
    groups.set(key, [...(groups.get(key) || []), [name, each]]);
  }
  return el('div', { class: 'charts' }, [...groups].map(([title, members]) => {
    const paint = colours(members.map(([name]) => name));
    if (!hidden.has(title)) hidden.set(title, new Set());
    const series = members.map(([name, each]) => ({ ...each,
      name: members.length < 2 ? name : HELD_OUT.test(each.ylabel) ? 'held-out' : 'train',
      colour: paint[name] }));
    const references = Object.entries(members[0][1].references || {})
      .filter(([, y]) => Array.isArray(y));
    const others = colours(['', ...references.slice(1).map(([name]) => name)]);
    for (const [name, y] of references)
      series.push({ name, x: members[0][1].x, y, dash: [4, 3], colour: others[name] || '#8c8c8c' });
    return chart({ title, xlabel: members[0][1].xlabel, ylabel: members[0][1].ylabel,
      log: members[0][1].log, series, hidden: hidden.get(title) });
  }));
}

function figures(run, names) {
  return el('div', { class: 'figures' }, names.map(name => {
    const url = address('figure', { run, name });
    const text = name.replace(/^figures\//, '');
    return el('a', { href: url, target: '_blank', rel: 'noopener' },
      el('img', { src: url, alt: text, loading: 'lazy' }), text);
  }));
}

function stageTable(stages, running) {
  return el('table', {}, el('tbody', {}, stages.map(([name, stage]) => el('tr', {},
    el('td', { text: name }),
    el('td', { class: stage.done ? 'good' : 'pale',
      text: stage.done ? 'done' : running ? 'at work' : 'not finished' }),
    el('td', { class: 'number', text: duration(stage.seconds || 0) })))));
}

function scoreTable(scores) {
  return el('table', {}, el('tbody', {}, Object.entries(scores).map(([name, score]) =>
    el('tr', {}, el('th', { scope: 'row', text: name.replaceAll('_', ' ') }),
      el('td', { class: 'number nowrap' }, number(score.mean, 4), score.std === undefined ? null
        : el('span', { class: 'pale', text: ` ± ${number(score.std)}` }))))));
}

function rollouts(run, stores) {
  const rows = Object.entries(stores);
  if (!rows.length) return el('p', { class: 'pale', text: 'None are kept.' });
  return el('table', {}, el('tbody', {}, rows.map(([name, store]) => el('tr', {},
    el('td', {}, el('a', { href: link('rollouts', { run, store: name }), text: name })),
    el('td', { text: store.game || '–' }),
    el('td', { class: 'number', text: store.episodes === undefined ? '–'
      : `${number(store.episodes)} episodes, ${number(store.steps)} steps` })))));
}

function settings(config) {
  const search = el('input', { type: 'search', placeholder: 'filter settings',
    'aria-label': 'filter settings' });
  const box = el('div');
  const fill = () => {
    const word = search.value.toLowerCase();
    box.replaceChildren(pairs(Object.fromEntries(Object.entries(config).filter(
      ([name]) => name.toLowerCase().includes(word)))));
  };
  search.addEventListener('input', fill);
  fill();
  return el('div', {}, el('div', { class: 'bar' }, search), box);
}

function pairs(values) {
  const rows = Object.entries(values).filter(([, value]) => value !== undefined);
  return el('table', {}, el('tbody', {}, rows.map(([name, value]) => el('tr', {},
    el('th', { scope: 'row', text: name }),
    el('td', { class: 'number', text: plain(value), style: { 'overflow-wrap': 'anywhere',
      'white-space': 'normal' } })))));
}

// Which page is shown: the address behind # says all of it, so that a link opens the same view.

import { get, post } from './api.js';
import { dreamPage } from './dream.js';
import { latentPage } from './latent.js';
import { el, fault, say, theme } from './dom.js';
import { comparePage, runsPage } from './runs.js';
import { runPage } from './run.js';
import { rolloutsPage } from './rollouts.js';
import { taskPage } from './task.js';

const PAGES = { runs: runsPage, compare: comparePage, run: runPage, rollouts: rolloutsPage,
  dream: dreamPage, latent: latentPage, task: taskPage };
const current = { page: '', leave: () => {} };

/** {page, query} of an address. */
function parsed() {
  const [page, query] = location.hash.replace(/^#\//, '').split('?');
  return { page: page || 'runs', query: Object.fromEntries(new URLSearchParams(query)) };
}

/** An address of a page. */
export function link(page, query = {}) {
  const given = Object.entries(query).filter(([, each]) => each !== undefined && each !== '');
  return `#/${page}?${new URLSearchParams(given)}`;
}

/** Put what is shown now into the address, without another step back. */
export function note(page, query) {
  const hash = link(page, query);
  if (hash === location.hash) return;
  history.replaceState(null, '', hash);
}

async function show() {
  const { page, query } = parsed();
  const main = document.getElementById('main');
  current.leave();
  current.leave = () => {};
  say('');
  const node = el('div');
  main.replaceChildren(node);
  document.getElementById('where').replaceChildren(...crumbs(page, query));
  document.title = [query.run, page, 'inspector'].filter(Boolean).join(' · ');
  const build = PAGES[page];
  if (!build) {
    node.append(fault(`There is no page "${page}".`));
    return;
  }
  const life = new AbortController();
  current.leave = () => life.abort();
  try {
    await build(node, query, life.signal);
  } catch (error) {
    if (!life.signal.aborted) node.prepend(fault(error.message));
  }
}

function crumbs(page, query) {
  const found = [el('a', { href: '#/runs', text: 'runs' })];
  if (page === 'compare') found.push(el('span', { text: 'side by side' }));
  if (query.run)
    found.push(el('span', { class: 'pale', text: '/' }),
      el('span', { text: query.run === '.' ? 'this folder' : query.run }));
  return found;
}

/** The button that lets the models go, where some are in memory. */
async function held() {
  const stop = document.getElementById('stop');
  const models = await get('models').then(found => found.models, () => []);
  stop.hidden = !models.length;
  stop.title = `In memory: ${models.join(', ')}. Whoever plays or looks in another tab is stopped.`;
}

document.getElementById('stop').addEventListener('click', async () => {
  await post('stop').then(() => say('The models were stopped.'), error => say(error.message));
  held();
});
setInterval(held, 3000);
document.getElementById('skip').addEventListener('click', event => {
  event.preventDefault();  // the address is for pages
  document.getElementById('main').focus();
});
theme();
addEventListener('hashchange', show);
show();

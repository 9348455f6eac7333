// Asks the server; what is wrong becomes an Error with the server's own words.

const meta = document.querySelector('meta[name="token"]');

export const token = () => meta.content;

/** A server that was started again has another token: ask for its page. */
export async function renewToken() {
  const text = await fetch('/').then(answer => answer.text(), () => '');
  const page = new DOMParser().parseFromString(text, 'text/html');
  meta.content = page.querySelector('meta[name="token"]')?.content || meta.content;
}

export const address = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return `/api/${path}?${new URLSearchParams(given)}`;
};

async function answered(path, query, options) {
  let answer;
  try {
    answer = await fetch(address(path, query), options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer: was it stopped? Start it again and reload.');
  }
  if (answer.ok) return answer;
  const kind = answer.headers.get('content-type') || '';
  throw new Error(kind.includes('json') ? (await answer.json()).error : await answer.text());
}

export const get = async (path, query, options) => (await answered(path, query, options)).json();

/** Bytes with their shape: {data, shape, headers}. */
export async function bytesOf(path, query, options) {
  const answer = await answered(path, query, options);
  return {
    data: new Uint8Array(await answer.arrayBuffer()),
    shape: answer.headers.get('X-Shape').split(',').map(Number),
    headers: answer.headers,
  };
}

/** A file that the server makes. */
export const blobOf = async (path, query) => (await answered(path, query)).blob();

/** What changes something: the token goes along. */
export const post = async (path, query) => (await answered(
  path, query, { method: 'POST', headers: { 'X-Token': token() } })).json();

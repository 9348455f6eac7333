// Elements, numbers in words, and the theme: what every other module uses.

/** An element. Options: text, class, on (event -> function), dataset; others are attributes. */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name === 'class') node.className = value;
    else if (name === 'on')
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else if (name === 'style')
      for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
    else if (name in node && typeof node[name] !== 'object' && !name.startsWith('aria'))
      node[name] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(each => each !== null && each !== undefined));
  return node;
}

export const css = name =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A number as one would say it. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (typeof value !== 'number') return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString('en');
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (size && size < 1e-3) return value.toExponential(1);
  return String(+value.toPrecision(digits));
}

export function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return `${unit ? count.toPrecision(3) : count} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')} h`;
}

/** A Unix time as a day and an hour. */
export function moment(seconds) {
  if (!seconds) return '–';
  const at = new Date(seconds * 1000);
  const two = each => String(each).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
    + `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** A setting's value as text. */
export function plain(value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'number') return number(value, 6);
  if (Array.isArray(value)) return value.map(plain).join(', ') || 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Dark or light: as chosen here before, else as the system has it. */
export function theme() {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const chosen = () => localStorage.getItem('theme');
  const show = () => {
    document.documentElement.dataset.theme = chosen() || (system.matches ? 'dark' : 'light');
    dispatchEvent(new Event('theme'));
  };
  system.addEventListener('change', show);
  document.getElementById('theme').addEventListener('click', () => {
    const dark = document.documentElement.dataset.theme === 'dark';
    localStorage.setItem('theme', dark ? 'light' : 'dark');
    show();
  });
  show();
}

export function say(text) {
  document.getElementById('status').textContent = text;
}

/** A box that says what is wrong. */
export const fault = text => el('div', { class: 'fault', role: 'alert', text });

/** Calls `draw` whenever the node's width or the theme changes; returns a function to end it. */
export function redrawn(node, draw) {
  let wide = 0;
  const watch = new ResizeObserver(() => {
    if (node.clientWidth !== wide) { wide = node.clientWidth; draw(); }
  });
  watch.observe(node);
  const themed = () => (node.isConnected ? draw() : removeEventListener('theme', themed));
  addEventListener('theme', themed);
}

/** A canvas's pen in CSS pixels, cleared: [pen, width, height]. */
export function pen(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.max(1, Math.round(wide * ratio));
  canvas.height = Math.max(1, Math.round(high * ratio));
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  return [context, wide, high];
}

// Files of what is shown: pictures of a part of the page, and what the server makes.

import { blobOf } from './api.js';
import { css, el } from './dom.js';

/** Of a picture of the page: what is there to be used. */
const LEFT_OUT = 'button:not(.track button, .legend button[aria-pressed="true"]), select, option, '
  + 'input, label, .tabs *';

/** Have the browser keep a blob under a name; the link that did it. */
export function download(blob, name) {
  const link = el('a', { href: URL.createObjectURL(blob), download: name, text: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return link;
}

export const save = async (name, path, query) => download(await blobOf(path, query), name);

/** A button that keeps the page as it is shown. */
export const pictureButton = name => el('button', { type: 'button', class: 'quiet middle',
  text: 'PNG', title: 'save what is on the screen', on: { click: () =>
    savePicture(document.querySelector('[data-picture]') || document.getElementById('main'), name),
  } });

/** The pictures, canvases and words of a node, where they stand on the page, as a PNG. */
export function savePicture(node, name) {
  const ratio = window.devicePixelRatio || 1;
  const home = node.getBoundingClientRect();
  const canvas = el('canvas', { width: home.width * ratio, height: home.height * ratio });
  const draw = canvas.getContext('2d');
  draw.scale(ratio, ratio);
  draw.translate(-home.left, -home.top);
  draw.fillStyle = css('paper');
  draw.fillRect(home.left, home.top, home.width, home.height);
  for (const each of node.querySelectorAll('*')) {
    const box = each.getBoundingClientRect();
    if (!box.width || each.matches(LEFT_OUT)) continue;
    const style = getComputedStyle(each);
    if (each.matches('.legend button')) {
      draw.fillStyle = style.getPropertyValue('--colour');
      draw.fillRect(box.left + 4, box.top + box.height / 2 - 1, 12, 3);
    }
    if (each.matches('canvas, img')) {
      if (each.matches('img') && !each.complete) continue;
      draw.imageSmoothingEnabled = style.imageRendering !== 'pixelated';
      draw.drawImage(each, box.left, box.top, box.width, box.height);
    } else if (each.matches('.cursor')) {
      draw.fillStyle = each.matches('.context') ? css('dream') : css('mark');
      draw.fillRect(box.left, box.top, 1, box.height);
    } else words(draw, each, style);
  }
  canvas.toBlob(blob => download(blob, name));
}

/** The words of an element's own text, each where it stands. */
function words(draw, node, style) {
  draw.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  draw.letterSpacing = style.letterSpacing === 'normal' ? '0px' : style.letterSpacing;
  draw.fillStyle = style.color;
  draw.textBaseline = 'middle';
  const upper = style.textTransform === 'uppercase';
  const part = document.createRange();
  for (const text of node.childNodes) {
    if (text.nodeType !== Node.TEXT_NODE) continue;
    for (const { 0: word, index } of text.textContent.matchAll(/\S+/g)) {
      part.setStart(text, index);
      part.setEnd(text, index + word.length);
      const [box] = part.getClientRects();
      if (box) draw.fillText(upper ? word.toUpperCase() : word, box.left, box.top + box.height / 2);
    }
  }
}

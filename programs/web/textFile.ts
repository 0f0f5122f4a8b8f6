/** A file that becomes the passage: its text, and of HTML the text without the tags. */
import { decode } from '../../bench/files.ts';
import { EngineError } from './engine.ts';

const MOST_BYTES = 10 * 2 ** 20;
const refuse = (name: string, got: string, advice: string) =>
  new EngineError('file', `${name}: expected text, got ${got}. ${advice}`);

/** @throws EngineError `file` for what is no text in UTF-8, or in UTF-16 with its mark */
export async function textOfFile(file: File): Promise<string> {
  const { name, size, type } = file;
  if (size > MOST_BYTES) throw refuse(name, `${(size / 2 ** 20).toFixed(0)} MB`, 'At most 10 MB can be read.');
  if (/^(image|audio|video)\//.test(type)) throw refuse(name, type, 'A picture or a sound has no text to read.');
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (String.fromCharCode(...bytes.subarray(0, 4)) === '%PDF') {
    throw refuse(name, 'a PDF', 'Open it, copy its text, and paste that.');
  }
  let text: string;
  try {
    text = decode(bytes, name);
  } catch {
    throw refuse(name, 'a file of another kind', 'Save it as text in UTF-8.');
  }
  const isHtml = /\.x?html?$/i.test(name) || type === 'text/html';
  return isHtml ? textOfHtml(new DOMParser().parseFromString(text, 'text/html').body) : text;
}

const UNSEEN = 'SCRIPT STYLE TEMPLATE NOSCRIPT IFRAME SVG OBJECT'.split(' ');
const BLOCKS =
  'ADDRESS ARTICLE ASIDE BLOCKQUOTE BR CAPTION DD DIV DL DT FIGCAPTION FIGURE FOOTER FORM H1 H2 H3 H4 H5 H6 HEADER HR LI MAIN NAV OL P PRE SECTION TABLE TR UL'.split(
    ' ',
  );

/** The text of an element as a reader sees it: a line for each block, without what is not shown. */
export function textOfHtml(body: Element): string {
  const parts: string[] = [];
  const walk = (node: Node) => {
    const name = node.nodeName.toUpperCase();
    if (node.nodeType === 3) parts.push((node.textContent ?? '').replace(/\s+/g, ' '));
    if (node.nodeType !== 1 || UNSEEN.includes(name) || (node as Element).hasAttribute('hidden')) return;
    if (BLOCKS.includes(name)) parts.push('\n');
    if (name === 'TD' || name === 'TH') parts.push(' ');
    for (const child of node.childNodes) walk(child);
    if (BLOCKS.includes(name)) parts.push('\n');
  };
  walk(body);
  return parts
    .join('')
    .split('\n')
    .map((line) => line.replace(/ +/g, ' ').trim())
    .filter((line) => line !== '')
    .join('\n');
}

const OF_MODELS =
  /^(config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|generation_config)\.json$|^vocab\.txt$|^merges\.txt$|\.safetensors$|\.bin$|\.index\.json$/;
/** Whether any of the files is one of a model. */
export const areOfModel = (names: readonly string[]): boolean => names.some((name) => OF_MODELS.test(name));

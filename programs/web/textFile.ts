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
  return isHtml ? textOfHtml(new DOMParser().parseFromString(text, 'text/html')) : text;
}

const UNSEEN = '[hidden], script, style, template, noscript, iframe, svg, object';
const BLOCKS =
  'address, article, aside, blockquote, br, caption, dd, div, dl, dt, figcaption, figure, footer, form, h1, h2, h3, h4, h5, h6, ' +
  'header, hr, li, main, nav, ol, p, pre, section, table, tr, ul';
/** Marks where a block begins and ends: no text has it (`decode`). */
const BREAK = '\0';

/** The text of a page as a reader sees it: a line for each block, without what is not shown. */
function textOfHtml({ body }: Document): string {
  for (const unseen of body.querySelectorAll(UNSEEN)) unseen.remove();
  for (const cell of body.querySelectorAll('td, th')) cell.before(' ');
  for (const block of body.querySelectorAll(BLOCKS)) {
    block.before(BREAK);
    block.after(BREAK);
  }
  const lines = body.textContent.replace(/\s+/g, ' ').split(BREAK);
  return lines.flatMap((line) => line.trim() || []).join('\n');
}

const OF_MODELS =
  /^(config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|generation_config)\.json$|^vocab\.txt$|^merges\.txt$|\.safetensors$|\.bin$|\.index\.json$/;
/** Whether any of the files is one of a model. */
export const areOfModel = (names: readonly string[]): boolean => names.some((name) => OF_MODELS.test(name));

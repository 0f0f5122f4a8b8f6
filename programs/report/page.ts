/** A page in one file: no network, light and dark, readable on a phone. */

/** The two widths a chart is drawn at, in CSS pixels: letters keep their size on a phone. */
export const WIDTHS = { wide: 680, narrow: 340 };

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char]!);

/** A table; cells of numbers are set to the right. Cells are text, or `{ html }`. */
export type Cell = string | number | { html: string };
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const shown = (cell: Cell) => (typeof cell === 'object' ? cell.html : escapeHtml(String(cell)));
  const numeric = (cell: Cell) => /^[-+±]?[\d.,]+( ?[%×x])?$/.test(shown(cell).replace(/<[^>]*>/g, ''));
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => numeric(row[column]!) || row[column] === ''),
  );
  const cells = (tag: 'th' | 'td', row: readonly Cell[]) =>
    row
      .map(
        (cell, i) =>
          `<${tag}${tag === 'th' ? ' scope="col"' : ''}${right[i] ? ' class="number"' : ''}>${shown(cell)}</${tag}>`,
      )
      .join('');
  const body = rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n');
  return `<div class="scroll" tabindex="0"><table><thead><tr>${cells('th', head)}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}

/** Names and what they are, as a list; long ones wrap. */
export const facts = (rows: readonly (readonly [name: string, value: string])[]): string =>
  `<dl>${rows.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`).join('\n')}</dl>`;

/** Colours, light and dark. */
export const COLOURS_CSS = `:root { color-scheme: light dark; --background: #fff; --text: #1c2024; --muted: #5c6670; --line: #d9dee3; --panel: #f5f7f9;
  --series-1: #0b6fc2; --series-2: #c2541b; --series-3: #0f8a5f; --series-4: #9a3fb5; --series-5: #8a6d00; --series-6: #5c6670; }
@media (prefers-color-scheme: dark) { :root { --background: #14171a; --text: #e6e9ec; --muted: #9aa5af; --line: #343b42;
  --panel: #1d2226; --series-1: #58aef5; --series-2: #f0935a; --series-3: #45c795; --series-4: #cf8be6; --series-5: #d8b93f;
  --series-6: #9aa5af; } }`;

const STYLE = `${COLOURS_CSS}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 46rem; background: var(--background); color: var(--text);
  font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem } h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem }
h3 { font-size: 1rem; margin: 1.75rem 0 .25rem }
.lead, figcaption, .note { color: var(--muted) } .lead { margin: 0 0 1.5rem } figcaption, .note { font-size: .875rem }
figure { margin: 1rem 0 } figure figure { margin: 0 } figure svg { display: block; max-width: 100%; height: auto;
  --plot-background: var(--background) } figure svg text { font-size: 12px } figure h2 { margin: 0 }
.narrow { display: none } @media (max-width: 45rem) { .wide { display: none } .narrow { display: block } }
.scroll { overflow-x: auto } .scroll:focus-visible { outline: 2px solid var(--series-1) }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap }
th { color: var(--muted); font-weight: 600 } .number { text-align: right } td:last-child, th:last-child { padding-right: 0 }
code { font: .875em ui-monospace, monospace; background: var(--panel); padding: .1em .3em; border-radius: 3px }
pre { background: var(--panel); padding: .75rem; overflow-x: auto; border-radius: 6px } pre code { padding: 0; background: none }
details { margin: .5rem 0 } summary { cursor: pointer }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.25rem; font-size: .875rem } dt { color: var(--muted) }
dd { margin: 0; overflow-wrap: anywhere }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .5rem 0; padding: 0; font-size: .875rem }
ul.legend i { display: inline-block; vertical-align: middle; min-width: 12px; width: 24px }
mark { background: color-mix(in srgb, var(--series-5) 35%, transparent); color: inherit }`;

/** The whole document. `body` is HTML; `title` and `lead` are text. */
export const htmlPage = ({ title, lead, body }: Record<'title' | 'lead' | 'body', string>): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
<main>
<h1>${escapeHtml(title)}</h1>
<p class="lead">${escapeHtml(lead)}</p>
${body}
</main>
</html>
`;

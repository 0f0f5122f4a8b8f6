/** The page's elements, and new ones. */
export const byId = <E extends HTMLElement = HTMLElement>(id: string): E => document.getElementById(id) as E;

type Attributes = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;

/** An element; attributes that are functions are listeners, children that are text are text. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : String(value));
  }
  made.append(...children);
  return made;
}

export const button = (text: string, click: (event: Event) => void, attributes: Attributes = {}): HTMLButtonElement =>
  element('button', { type: 'button', click, ...attributes }, text);

/** A bar of a share of the width; its number stands beside it, so that it is hidden from screen readers. */
export function bar(share: number, kind = ''): HTMLElement {
  const made = element('span', { class: `bar ${kind}`, 'aria-hidden': 'true' });
  made.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return made;
}

/** A table; cells of the columns named in `numbers` are set to the right. */
export function table(
  { caption, head, numbers = [] }: { caption?: string; head: string[]; numbers?: number[] },
  rows: (Node | string)[][],
): HTMLTableElement {
  const kind = (column: number) => (numbers.includes(column) ? 'number' : head[column] === '' ? 'bar-cell' : undefined);
  const top = head.map((text, i) =>
    text === '' ? element('td') : element('th', { scope: 'col', class: kind(i) }, text),
  );
  const body = rows.map((cells) =>
    element(
      'tr',
      {},
      ...cells.map((cell, i) => element(i === 0 ? 'th' : 'td', { scope: i === 0 && 'row', class: kind(i) }, cell)),
    ),
  );
  return element(
    'table',
    {},
    ...(caption ? [element('caption', {}, caption)] : []),
    element('thead', {}, element('tr', {}, ...top)),
    element('tbody', {}, ...body),
  );
}

/** A button that saves what was measured, with all digits; a table as it is shown can be copied into a spreadsheet. */
export function downloadButton(name: string, value: object): HTMLElement {
  const click = () => {
    const href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: 'application/json' }));
    element('a', { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000); // the browser reads it after the click
  };
  return button('Download as JSON', click);
}

export const milliseconds = (value: number): string =>
  value < 10 ? `${value.toFixed(1)} ms` : value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`;
/** A number of things: the name of one has an s behind where they are several. */
export const counted = (count: number, name: string): string => `${count} ${name}${count === 1 ? '' : 's'}`;
export const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;

/** Pads the cells of a table's rows to columns: the first column is text, at the left; the others are numbers, at the right. */
export function aligned(rows: readonly (readonly string[])[]): string[][] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))));
}

/** A table as text: its columns two spaces apart. */
export const inColumns = (rows: readonly (readonly string[])[]): string =>
  aligned(rows)
    .map((cells) => cells.join('  ').trimEnd())
    .join('\n');

/** A table in Markdown; all columns but the first at the right. */
export const markdown = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i ? '--:' : '---')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

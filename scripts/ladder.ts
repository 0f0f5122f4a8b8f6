/** The part of examples/ladder that docs/engine.md shows: the figures of one machine (bench/results/ladder.json) and each step's drawing. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GPU_STEPS, type LadderResult, STEPS, textOf } from '../examples/ladder/run.ts';
import { COLOURS, Plot } from '../programs/report/chart.ts';

const ROOT = join(import.meta.dirname, '..');
const FOLDER = 'examples/ladder';

export const ladderResult = (): LadderResult =>
  JSON.parse(readFileSync(join(ROOT, 'bench/results/ladder.json'), 'utf8')) as LadderResult;

/** The steps as bars, and in each the limit of the registers as a line. */
export function ladderChart({ steps }: LadderResult): Plot.PlotOptions {
  const bars = steps.map(({ name, title, rate, limit }) => ({ step: `${name[0]}  ${title}`, rate, limit }));
  const limited = bars.filter(({ limit }) => limit !== null);
  return {
    ...{ height: 40 + 34 * bars.length, marginLeft: 280, marginRight: 60, marginTop: 8, marginBottom: 36 },
    x: { label: 'GMAC/s; the line: the most that registers alone reach →', grid: true, ticks: 6 },
    y: { label: null, domain: bars.map(({ step }) => step), tickSize: 0, padding: 0.35 },
    marks: [
      Plot.barX(bars, { x: 'rate', y: 'step', fill: COLOURS[0]! }),
      Plot.tickX(limited, { x: 'limit', y: 'step', stroke: COLOURS[1]!, strokeWidth: 3 }),
      Plot.text(bars, {
        ...{ x: 'rate', y: 'step', dx: 6, textAnchor: 'start', fill: 'currentColor' },
        ...{ stroke: 'var(--background)', strokeWidth: 6 },
        text: ({ rate }: (typeof bars)[0]) => rate.toFixed(rate < 10 ? 2 : 1),
      }),
    ],
  };
}

/** A step's title, file, size, and the comment that its file begins with. */
function drawing({ name, title }: { name: string; title: string }): string {
  const [path] = globSync(`${FOLDER}/${name}.*`, { cwd: ROOT }) as [string];
  const text = readFileSync(join(ROOT, path), 'utf8');
  const comment = /^\/\*\*\n([\s\S]*?)\n \*\/|^((?:\/\/.*\n)+)/.exec(text)!;
  const lines = (comment[1] ?? comment[2]!.trimEnd()).split('\n').map((line) => line.replace(/^( \*|\/\/) ?/, ''));
  const code = text
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '').length;
  return `**[${name}](../${path})**, ${code} lines: ${title}\n\n\`\`\`\n${lines.join('\n')}\n\`\`\``;
}

/** The block `ladder` of docs/engine.md. */
export const ladderText = (): string =>
  [`\`\`\`\n${textOf(ladderResult())}\n\`\`\``, ...[...STEPS, ...GPU_STEPS].map(drawing)].join('\n\n');

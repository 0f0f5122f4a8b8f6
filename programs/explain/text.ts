/** An explanation as text: a table with a row for each linear, and what it says in a few lines. */
import { aligned } from '../../bench/columns.ts';
import type { Scheme } from '../../src/tensor.ts';
import { type Explanation, type LinearReport, type Quantized, SCHEMES, worst } from './explain.ts';

/** `layer 0 output`, `qa_outputs`. */
export const nameOf = ({ layer, kind }: Pick<LinearReport, 'layer' | 'kind'>): string =>
  layer === null ? kind : `layer ${layer} ${kind}`;

export const decibels = (sqnr: number | null): string => (sqnr === null ? 'equal' : sqnr.toFixed(1));
/** Three significant digits, for numbers of any size. */
export const short = (value: number): string => String(Number(value.toPrecision(3)));
export const percent = (share: number): string => `${short(share * 100)} %`;

/** Where the `accurate` scheme gains most over `torch`, the linear alone, and how many dB. */
export function mostGained({ linears }: Explanation): { linear: LinearReport; gain: number } {
  const gain = ({ schemes: { torch, accurate } }: LinearReport) =>
    (accurate.alone.output.sqnr ?? 0) - (torch.alone.output.sqnr ?? 0);
  const linear = linears.reduce((a, b) => (gain(b) > gain(a) ? b : a));
  return { linear, gain: gain(linear) };
}

/** One sentence on a scheme: its most costly linear, and what is left of the logits and the answer. */
function verdict({ linears, logits, answers }: Explanation, scheme: Scheme, name: string): string {
  const linear = worst(linears, scheme);
  const cost = decibels(linear.schemes[scheme].alone.output.sqnr);
  const { sqnr, cosine } = logits[scheme];
  const { noAnswer, text, score } = answers[scheme];
  const answer = `${noAnswer ? 'no answer' : JSON.stringify(text)}, score ${score.toFixed(3)}`;
  return `${name}: ${nameOf(linear)} costs most, ${cost} dB alone; logits ${decibels(sqnr)} dB, cosine ${cosine.toFixed(4)}; ${answer}`;
}

/**
 * The summary of a run, each line taken from the data.
 * @param names what the reader knows the schemes by
 */
export function summary(
  explanation: Explanation,
  names: Record<Scheme, string> = { torch: 'torch', accurate: 'accurate' },
): string[] {
  const { linear, gain } = mostGained(explanation);
  const [{ feature, low, high }] = linear.outliers as [LinearReport['outliers'][0]];
  const { low: least, high: most } = linear.others;
  const fp32 = explanation.answers.fp32;
  return [
    `fp32: ${fp32.noAnswer ? 'no answer' : JSON.stringify(fp32.text)}, score ${fp32.score.toFixed(3)}`,
    ...SCHEMES.map((scheme) => verdict(explanation, scheme, names[scheme])),
    `${names.accurate} gains most at ${nameOf(linear)}, ${gain.toFixed(1)} dB: feature ${feature} of its input reaches ` +
      `${short(-low > high ? low : high)}, all but ${linear.outliers.length} stay within ${short(least)} to ${short(most)}`,
  ];
}

/** Scale, zero point, and how far the levels are used. */
const integers = ({ scale, zeroPoint, clipped, levels, steps }: Quantized) => [
  scale.median.toFixed(4),
  String(zeroPoint.median),
  percent(clipped),
  String(levels),
  steps.toFixed(1),
];

/** The table: one row for each linear, `*` at the lowest dB of a column. */
export function textTable({ linears }: Explanation): string {
  const columns = [
    (l: LinearReport) => l.schemes.torch.alone,
    (l: LinearReport) => l.schemes.accurate.alone,
    (l: LinearReport) => l.schemes.torch.whole,
    (l: LinearReport) => l.schemes.accurate.whole,
  ];
  const lowest = columns.map((at) => Math.min(...linears.map((linear) => at(linear).output.sqnr ?? Infinity)));
  const rows = linears.map((linear) => {
    const { torch, accurate } = linear.schemes;
    const quality = columns.map((at, i) => {
      const { sqnr } = at(linear).output;
      return `${decibels(sqnr)}${sqnr === lowest[i] ? '*' : ' '}`;
    });
    const cosines = [torch, accurate].map(({ whole }) => whole.output.cosine.toFixed(4));
    const range = [short(torch.alone.low), short(torch.alone.high)];
    return [nameOf(linear), ...range, ...integers(torch.alone), ...integers(accurate.alone), ...quality, ...cosines];
  });
  const input = ['scale', 'zero', 'clipped', 'levels', 'steps'];
  const head = ['', 'low', 'high', ...input, ...input, 'torch ', 'acc. ', 'torch ', 'acc. ', 'torch', 'acc.'];
  const lines = aligned([head, ...rows]);
  const widths = lines[0]!.map(({ length }) => length);
  /** Titles over groups of columns. */
  const groups: [string, number][] = [
    ['', 1],
    ['range', 2],
    ['torch', 5],
    ['accurate', 5],
    ['alone, dB', 2],
    ['whole, dB', 2],
    ['whole, cosine', 2],
  ];
  let at = 0;
  const titles = groups.map(([title, count]) => {
    const width = widths.slice(at, at + count).reduce((sum, each) => sum + each, count - 1);
    at += count;
    return title.padStart((width + title.length) >> 1).padEnd(width);
  });
  return [titles, ...lines].map((cells) => cells.join(' ').trimEnd()).join('\n');
}

const LEGEND = `range, scale, zero point: of float32's input to the linear; accurate: of the median token. clipped: rounded beyond
0..127. levels: different integers in the median token, of 128. steps: root mean square of x / scale. alone: only this
linear in int8; whole: all of them. dB: 10 log10(sum y^2 / sum (y - yq)^2), its output against float32's; * lowest.`;

/** Why the scores may not be those that another device prints. */
export const OTHER_SCORES =
  'Another device adds up floats in another order. A last bit can then move one integer, and that the rest: int8 scores differ ' +
  'by device, as those of PyTorch by CPU. `bertlet explain --flip` shows where.';

/**
 * Output of `bertlet explain`.
 * @param device what computed it
 */
export const explainText = (explanation: Explanation, device: string): string =>
  [
    textTable(explanation),
    LEGEND,
    `${explanation.tokens} tokens, computed by ${device}\n${summary(explanation).join('\n')}`,
    OTHER_SCORES,
  ].join('\n\n');

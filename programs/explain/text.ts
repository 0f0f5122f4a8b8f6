/** An explanation as text: a table with a row for each linear, and what it says in a few lines. */
import { inColumns } from '../../bench/columns.ts';
import type { Scheme } from '../../src/tensor.ts';
import { type Explanation, type LinearReport, SCHEMES, type Spread, worst } from './explain.ts';

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

/** One number, or the median with the least and the largest. */
const several = ({ low, median, high }: Spread, digits: number): string => {
  const [least, middle, most] = [low, median, high].map((value) => value.toFixed(digits)) as [string, string, string];
  return low === high ? middle : `${middle} (${least} to ${most})`;
};

/** All figures of one scheme: names of the columns, and a row for each linear; `*` is at the lowest dB of a column. */
export function figures(linears: readonly LinearReport[], scheme: Scheme): [head: string[], ...rows: string[][]] {
  const reports = linears.map(({ schemes }) => schemes[scheme]);
  const [alone, whole] = (['alone', 'whole'] as const).map((kind) => {
    const lowest = Math.min(...reports.map((report) => report[kind].output.sqnr ?? Infinity));
    return reports.map((report) => {
      const { sqnr, cosine } = report[kind].output;
      return [`${decibels(sqnr)}${sqnr === lowest ? '*' : ' '}`, cosine.toFixed(4)];
    });
  }) as [string[][], string[][]];
  const rows = reports.map(({ alone: { low, high, clipped, levels, steps, scale, zeroPoint }, weightScale }, i) => [
    ...[nameOf(linears[i]!), ...alone[i]!, ...whole[i]!],
    ...[short(low), short(high), percent(clipped), String(levels), steps.toFixed(1)],
    ...[several(scale, 4), several(zeroPoint, 0), several(weightScale, 5)],
  ]);
  const input = ['low', 'high', 'clipped', 'levels', 'steps', 'scale', 'zero point', 'weight scale'];
  return [['linear', 'alone, dB', 'cosine', 'whole, dB', 'cosine', ...input], ...rows];
}

const LEGEND = `alone: only this linear in int8; whole: all of them. dB: 10 log10(sum y^2 / sum (y - yq)^2), its output against float32's;
* lowest. low, high, scale, zero point: of float32's input to the linear; accurate: of the median token, and from the least to
the largest. clipped: rounded beyond 0..127. levels: different integers in the median token, of 128. steps: root mean square
of x / scale.`;

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
    ...SCHEMES.map((scheme) => `${scheme}\n${inColumns(figures(explanation.linears, scheme))}`),
    LEGEND,
    `${explanation.tokens} tokens, computed by ${device}\n${summary(explanation).join('\n')}`,
    OTHER_SCORES,
  ].join('\n\n');

/** The threshold of "no answer" that is best on one's own questions, and how often `confidence` is right. */
import { readFile } from 'node:fs/promises';
import { uniform } from '../../kernels/op.ts';
import { messageOf } from '../../src/errors.ts';
import { decode, fileError } from '../files.ts';
import type { Interval } from './bootstrap.ts';
import { type Prediction, score } from './metric.ts';

/** A question of one's own, with the texts that are right; none where the passage has no answer. */
export interface Own {
  readonly question: string;
  readonly context: string;
  readonly answers: readonly string[];
}

/**
 * Reads lines of {"question", "context", "answer"}; the answer is a text, several, or null.
 * @throws BertletError `file` where a line is another
 */
export async function readOwn(path: string): Promise<Own[]> {
  const lines = decode(await readFile(path), path).split(/\r?\n/);
  const own = lines.flatMap((line, i): Own[] => {
    if (line.trim() === '') return [];
    const place = `${path}: line ${i + 1}`;
    let fields: Record<string, unknown>;
    try {
      fields = Object(JSON.parse(line));
    } catch (error) {
      throw fileError(place, 'JSON', messageOf(error));
    }
    const { question, context, answer } = fields;
    const answers = answer === null ? [] : Array.isArray(answer) ? answer : [answer];
    if (![question, context, ...answers].every((text) => typeof text === 'string')) {
      throw fileError(place, 'texts "question" and "context", and "answer": a text, texts or null', 'others');
    }
    return [{ question, context, answers } as Own];
  });
  if (own.length === 0) throw fileError(path, 'questions', 'none');
  return own;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The best threshold, a question counting as often as `times` says: spans are let in by growing `noAnswerScore`. */
function best(scored: readonly { at: number; gain: number }[], times: readonly number[]): number {
  let [sum, most, threshold] = [0, 0, scored[0]!.at - 1];
  for (const [i, { at, gain }] of scored.entries()) {
    sum += gain * times[i]!;
    if (sum > most && at !== scored[i + 1]?.at) [most, threshold] = [sum, at];
  }
  return threshold;
}

/**
 * The threshold with the best F1, and its 95 % interval over questions that are drawn with replacement.
 * @param answers the right answers of each question
 */
export function calibrate(
  answers: readonly (readonly string[])[],
  said: readonly Prediction[],
  seed = 1,
  resamples = 1000,
): { threshold: number; interval: Interval; f1: number } {
  const scored = said
    .map((one, i) => {
      const [as, none] = [Infinity, -Infinity].map((threshold) => score(answers[i]!, one, threshold).f1);
      return { at: one.noAnswerScore, gain: as! - none! };
    })
    .sort((a, b) => a.at - b.at);
  const threshold = best(
    scored,
    scored.map(() => 1),
  );
  const next = uniform(seed);
  const drawn = Float64Array.from({ length: resamples }, () => {
    const times = new Array<number>(scored.length).fill(0);
    for (let i = 0; i < scored.length; i++) times[Math.floor(next() * scored.length)]!++;
    return best(scored, times);
  }).sort();
  const interval = { low: drawn[Math.floor(0.025 * resamples)]!, high: drawn[Math.ceil(0.975 * resamples) - 1]! };
  const f1 = 100 * mean(said.map((one, i) => score(answers[i]!, one, threshold).f1));
  return { threshold, interval, f1 };
}

/** One part of a reliability curve. */
export interface Bin {
  readonly low: number;
  readonly count: number;
  /** Means over the answers whose confidence is at least `low`, and less than the next bin's. */
  readonly confidence: number;
  readonly right: number;
}

/**
 * How often answers are right that are so sure. An answer is right if half of its words are (F1), "no answer" where there
 * is none.
 * @returns bins of a tenth, and the expected calibration error: the mean distance of `confidence` and `right`
 */
export function reliability(answers: readonly { confidence: number; right: boolean }[]): {
  bins: Bin[];
  error: number;
} {
  const groups = Map.groupBy(answers, ({ confidence }) => Math.min(9, Math.floor(confidence * 10)));
  const bins = [...groups.entries()]
    .sort(([a], [b]) => a - b)
    .map(([tenth, group]) => ({
      low: tenth / 10,
      count: group.length,
      confidence: mean(group.map(({ confidence }) => confidence)),
      right: mean(group.map(({ right }) => Number(right))),
    }));
  const distance = bins.reduce((sum, { count, confidence, right }) => sum + count * Math.abs(confidence - right), 0);
  return { bins, error: distance / answers.length };
}

/** The temperature that makes the chances of what is right largest: margins divided by it are then logits (Guo et al. 2017). */
export function temperatureOf(answers: readonly { margin: number; right: boolean }[]): number {
  const loss = (temperature: number) =>
    mean(answers.map(({ margin, right }) => Math.log1p(Math.exp(((right ? -1 : 1) * margin) / temperature))));
  const steps = Array.from({ length: 200 }, (_, i) => 0.5 * 1.03 ** i);
  return steps.reduce((best, one) => (loss(one) < loss(best) ? one : best));
}

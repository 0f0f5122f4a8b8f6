/**
 * Questions to whole documents: some paragraphs of an article as one passage, and ways to cut it into windows and to choose
 * between what the windows say. src/spans.ts does what was best here; the others are kept to compare with.
 */
import type { QuestionAnswering } from '../../src/index.ts';
import type { Pool } from '../pool.ts';
import { bootstrap, type Interval } from './bootstrap.ts';
import type { Question } from './dataset.ts';
import { type Prediction, score } from './metric.ts';
import { WINDOWS } from './run.ts';

/** A document: what is asked of one of its paragraphs is asked of all of it. */
export interface Document {
  readonly text: string;
  readonly paragraphs: readonly string[];
}

/**
 * The document of each paragraph.
 * @param questions of the file, whose articles have their paragraphs in order
 * @param size paragraphs of a document; those at an article's ends have as many, some of them of the next; 0: all
 * @param shift how many paragraphs earlier documents begin: the same questions have others around theirs
 */
export function documentsOf(questions: readonly Question[], size: number, shift = 0): Map<string, Document> {
  const articles = Map.groupBy(questions, ({ article }) => article);
  const documents = new Map<string, Document>();
  for (const asked of articles.values()) {
    const paragraphs = [...new Set(asked.map(({ context }) => context))];
    const count = size === 0 ? paragraphs.length : Math.min(size, paragraphs.length);
    for (let i = -(shift % count); i < paragraphs.length; i += count) {
      const begin = Math.max(0, Math.min(i, paragraphs.length - count));
      const own = paragraphs.slice(begin, begin + count);
      const document = { text: own.join('\n\n'), paragraphs: own };
      for (const paragraph of paragraphs.slice(Math.max(0, i), i + count)) documents.set(paragraph, document);
    }
  }
  return documents;
}

/** Result of a window: the best span, the two scores, and `log(sum exp)` of the logits that may be an answer. */
interface Said {
  text: string;
  best: number;
  none: number;
  total: number;
}
/** Chooses between windows: the best span, and by how much "no answer" fits better. */
type Rule = (windows: readonly Said[]) => Prediction;

const most = (windows: readonly Said[], of: (window: Said) => number) =>
  windows.reduce((best, window) => (of(window) > of(best) ? window : best));
const least = (windows: readonly Said[], of: (window: Said) => number) => Math.min(...windows.map(of));

const RULES: Record<string, Rule> = {
  'smallest null score': (windows) => {
    const { text, best } = most(windows, (window) => window.best);
    return { text, noAnswerScore: least(windows, ({ none }) => none) - best };
  },
  'probability in its window': (windows) => {
    const chance = ({ best, total }: Said) => best - total;
    const window = most(windows, chance);
    return { text: window.text, noAnswerScore: least(windows, ({ none, total }) => none - total) - chance(window) };
  },
};

const logSumExp = (values: readonly number[]) => {
  const max = Math.max(...values);
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
};

/** The windows of run_qa.py: 384 tokens that share 128. */
async function windowsOf(model: QuestionAnswering, question: string, text: string): Promise<Said[]> {
  const { tokenizer } = model;
  const [first, second] = [tokenizer.encode(question), tokenizer.encode(text)];
  const room = WINDOWS.maxTokens - first.ids.length - tokenizer.specialTokens;
  const windows: Said[] = [];
  for (let begin = 0; ; begin += room - WINDOWS.stride) {
    const part = <V>(values: V[]) => values.slice(begin, begin + room);
    const { ids, tokens, offsets } = second;
    const pair = tokenizer.pair(first, { ids: part(ids), tokens: part(tokens), offsets: part(offsets) });
    const { start, end } = await model.logits({ inputIds: pair.ids, tokenTypeIds: pair.typeIds });
    const [from, to] = [pair.sequence.indexOf(1), pair.sequence.lastIndexOf(1)];
    const window = { text: '', best: -Infinity, none: start[0]! + end[0]!, total: 0 };
    for (let j = from; j <= to; j++) {
      for (let i = Math.max(from, j - WINDOWS.maxAnswerTokens + 1); i <= j; i++) {
        if (start[i]! + end[j]! <= window.best) continue;
        window.best = start[i]! + end[j]!;
        window.text = text.slice(pair.offsets[i]![0], pair.offsets[j]![1]);
      }
    }
    for (const logits of [start, end]) window.total += logSumExp([logits[0]!, ...logits.subarray(from, to + 1)]);
    windows.push(window);
    if (begin + room >= ids.length) return windows;
  }
}

/** Ways to answer a question to a document; the first is what the others are compared with. */
const WAYS: Record<string, (model: QuestionAnswering, question: string, document: Document) => Promise<Answered>> = {
  ...Object.fromEntries(
    Object.entries(RULES).map(([name, rule]) => [
      `384, stride 128: ${name}`,
      async (model: QuestionAnswering, question: string, { text }: Document) => {
        const windows = await windowsOf(model, question, text);
        return { ...rule(windows), windows: windows.length };
      },
    ]),
  ),
  '384, stride 128': (model, question, { text }) => answered(model, { question, context: text, ...WINDOWS }),
  '384, stride 0': (model, question, { text }) => answered(model, { question, context: text, ...WINDOWS, stride: 0 }),
  'each paragraph': (model, question, { paragraphs }) => answered(model, { question, contexts: paragraphs }),
  'as bertlet does': (model, question, { text }) => answered(model, { question, context: text }),
};

export const WAY_NAMES = Object.keys(WAYS);

type Answered = Prediction & { windows: number };

async function answered(
  model: QuestionAnswering,
  input: Parameters<QuestionAnswering['answer']>[0],
): Promise<Answered> {
  let windows = 0;
  const onProgress = ({ total }: { total: number }) => {
    windows = total;
  };
  const [best] = await model.answer({ ...input, onProgress, nullThreshold: Number.MAX_VALUE });
  const { text, nullScore, startLogit, endLogit } = best;
  return { text, noAnswerScore: Math.fround(nullScore - (startLogit + endLogit)), windows };
}

/** Result of one way, in percent. */
export interface WayResult {
  readonly name: string;
  /** Windows of a question, in the mean. */
  readonly windows: number;
  readonly f1: number;
  readonly hasAnswer: number;
  readonly noAnswer: number;
  /** F1 of each half of the questions with the threshold that is best on the other half. */
  readonly tuned: number;
  /** F1 of the questions that have an answer, if one must be given. */
  readonly asked: number;
  /** F1 less that of the first way. */
  readonly difference: Interval & { f1: number };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The threshold of "no answer" with the best F1. */
export function bestThreshold(questions: readonly Question[], said: readonly Prediction[]): number {
  const f1 = (threshold: number) => mean(said.map((one, i) => score(questions[i]!.answers, one, threshold).f1));
  return said.map(({ noAnswerScore }) => noAnswerScore).reduce((a, b) => (f1(b) > f1(a) ? b : a), 0);
}

/** Has each way answer each question. */
export async function tryWays(
  pool: Pool,
  questions: readonly Question[],
  documents: ReadonlyMap<string, Document>,
  { threshold, seed, onAnswer = () => {} }: { threshold: number; seed: number; onAnswer?: () => void },
): Promise<WayResult[]> {
  const results: WayResult[] = [];
  let base: number[] = [];
  for (const [name, way] of Object.entries(WAYS)) {
    const said = await Promise.all(
      questions.map(({ question, context }) =>
        pool.use((model) => way(model, question, documents.get(context)!)).finally(onAnswer),
      ),
    );
    const f1 = said.map((one, i) => 100 * score(questions[i]!.answers, one, threshold).f1);
    const of = (has: boolean, values = f1) => mean(values.filter((_, i) => questions[i]!.answers.length > 0 === has));
    const halves = [0, 1].map((half) => said.map((_, i) => i).filter((i) => i % 2 === half));
    const tuned = halves.flatMap((half, h) => {
      const other = halves[1 - h]!;
      const at = bestThreshold(
        other.map((i) => questions[i]!),
        other.map((i) => said[i]!),
      );
      return half.map((i) => 100 * score(questions[i]!.answers, said[i]!, at).f1);
    });
    if (base.length === 0) base = f1;
    const differences = f1.map((value, i) => value - base[i]!);
    results.push({
      name,
      windows: mean(said.map(({ windows }) => windows)),
      f1: mean(f1),
      hasAnswer: of(true),
      noAnswer: of(false),
      tuned: mean(tuned),
      asked: of(
        true,
        said.map((one, i) => 100 * score(questions[i]!.answers, one, Infinity).f1),
      ),
      difference: { f1: mean(differences), ...bootstrap(differences, seed) },
    });
  }
  return results;
}

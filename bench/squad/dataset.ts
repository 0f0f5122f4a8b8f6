/** SQuAD's files, 1.1 and 2.0 (https://rajpurkar.github.io/SQuAD-explorer), and samples of their questions. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { uniform } from '../../kernels/op.ts';
import { messageOf } from '../../src/errors.ts';
import { decode, fileError } from '../files.ts';

export interface Question {
  readonly id: string;
  readonly question: string;
  /** The passage; questions to the same one follow each other. */
  readonly context: string;
  /** The right answers; none where the passage has none. */
  readonly answers: readonly string[];
  /** Index of the article that the passage is from. */
  readonly article: number;
}

export interface Dataset {
  /** The file's name, without its folder. */
  readonly name: string;
  readonly sha256: string;
  /** 2.0 has questions without an answer. */
  readonly format: '1.1' | '2.0';
  readonly questions: readonly Question[];
}

/** @throws BertletError `file` where the file is no SQuAD, with the place in it; an error of the file system. */
export async function readSquad(path: string): Promise<Dataset> {
  const bytes = await readFile(path);
  const name = basename(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { name, sha256, ...parseSquad(decode(bytes, name), name) };
}

/**
 * A file of SQuAD 2.0 as one of 1.1: the questions that have an answer.
 * @throws BertletError `file` where none has one
 */
export function answerable(dataset: Dataset): Dataset {
  const questions = dataset.questions.filter(({ answers }) => answers.length > 0);
  if (questions.length === 0) throw fileError(`${dataset.name}: data`, 'questions with an answer', 'none');
  return { ...dataset, format: '1.1', questions };
}

type Fields = Record<string, unknown>;

/** @param name of the file, for errors */
export function parseSquad(text: string, name: string): Pick<Dataset, 'format' | 'questions'> {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw fileError(name, 'JSON', messageOf(error));
  }
  const kind = (value: unknown) => {
    if (value === undefined) return 'nothing';
    if (value === null) return 'null';
    if (typeof value === 'object') return Array.isArray(value) ? 'an array' : 'an object';
    return `a ${typeof value}`;
  };
  /** A field that must be there, of this type, and the objects of one that is an array. */
  const typed = <T>(from: Fields, place: string, key: string, type: 'string' | 'boolean'): T => {
    if (typeof from[key] === type) return from[key] as T;
    throw fileError(`${name}: ${place}.${key}`, `a ${type}`, kind(from[key]));
  };
  /** Some files count their questions. */
  const idOf = (qa: Fields, place: string) =>
    Number.isSafeInteger(qa.id) ? String(qa.id) : typed<string>(qa, place, 'id', 'string');
  const objects = (from: Fields, place: string, key: string): [Fields, string][] => {
    const [at, values] = [place === '' ? key : `${place}.${key}`, from[key]];
    if (!Array.isArray(values)) throw fileError(`${name}: ${at}`, 'an array', kind(values));
    return values.map((value, i) => {
      if (typeof value === 'object' && value !== null) return [value as Fields, `${at}[${i}]`];
      throw fileError(`${name}: ${at}[${i}]`, 'an object', kind(value));
    });
  };

  const questions: Question[] = [];
  const ids = new Set<string>();
  let two = false; // SQuAD 2.0: is_impossible is said, or a question has no answer
  for (const [article, [fields, place]] of objects(Object(file), '', 'data').entries()) {
    for (const [paragraph, place_] of objects(fields, place, 'paragraphs')) {
      const context = typed<string>(paragraph, place_, 'context', 'string');
      for (const [qa, at] of objects(paragraph, place_, 'qas')) {
        const id = idOf(qa, at);
        if (ids.has(id)) throw fileError(`${name}: ${at}.id`, 'an id that no other question has', `${id} again`);
        ids.add(id);
        const question = typed<string>(qa, at, 'question', 'string');
        const answers = objects(qa, at, 'answers').map(([answer, where]) =>
          typed<string>(answer, where, 'text', 'string'),
        );
        const none = answers.length === 0; // what the official script goes by; some files say no more
        const marked = qa.is_impossible !== undefined;
        if (marked && typed<boolean>(qa, at, 'is_impossible', 'boolean') !== none) {
          const expected = none ? 'at least one, or is_impossible: true' : 'none, as is_impossible is true';
          throw fileError(`${name}: ${at}.answers`, expected, answers.length);
        }
        two ||= marked || none;
        questions.push({ id, question, context, answers, article });
      }
    }
  }
  if (questions.length === 0) throw fileError(`${name}: data`, 'questions', 'none');
  return { format: two ? '2.0' : '1.1', questions };
}

/**
 * Some of the questions, in the file's order: as many with an answer as their share of all, and of each article as many
 * as of any other, as far as it has them. A seed always gives the same.
 */
export function sample(questions: readonly Question[], limit: number, seed: number): Question[] {
  if (limit >= questions.length) return [...questions];
  const next = uniform(seed);
  const shuffled = questions.map((question) => ({ question, key: next() })).sort((a, b) => a.key - b.key);
  const answerable = (question: Question) => question.answers.length > 0;
  const taken = new Map<number, number>(); // by article
  const chosen = new Set<Question>();
  const take = (from: Question[], count: number) => {
    const left = Map.groupBy(from, ({ article }) => article);
    for (let i = 0; i < count; i++) {
      let fewest: number | undefined; // the article with the fewest so far; the shuffled order decides between equals
      for (const article of left.keys()) {
        if (fewest === undefined || (taken.get(article) ?? 0) < (taken.get(fewest) ?? 0)) fewest = article;
      }
      const article = left.get(fewest!)!;
      chosen.add(article.pop()!);
      taken.set(fewest!, (taken.get(fewest!) ?? 0) + 1);
      if (article.length === 0) left.delete(fewest!);
    }
  };
  const [has, none] = [true, false].map((kind) =>
    shuffled.map(({ question }) => question).filter((question) => answerable(question) === kind),
  ) as [Question[], Question[]];
  const share = Math.round((limit * has.length) / questions.length);
  take(has, share);
  take(none, limit - share);
  return questions.filter((question) => chosen.has(question));
}

/**
 * The metric of SQuAD 2.0 and 1.1: exact match and F1 of the words, and its 13 figures.
 * Source: the official evaluate-v2.0.py (https://rajpurkar.github.io/SQuAD-explorer), in Python; what `\b`, `\w`, `lower`
 * and `split` mean there is spelled out here, as JavaScript means other characters.
 */

/** Answer of a model to a question. */
export interface Prediction {
  /** Text of the best span, '' only where the passage has no words. */
  text: string;
  /** `nullScore - (startLogit + endLogit)`: how much more "no answer" fits than the best span. */
  noAnswerScore: number;
}

/** Exact match and F1 of one question, from 0 to 1. */
export interface Score {
  exact: number;
  f1: number;
}

/**
 * All but `total` in percent; `HasAns` and `NoAns` are missing where there are no such questions, as in the official
 * script. The best figures are those of the best threshold, which is found by looking at the answers.
 */
export type Figures = { exact: number; f1: number; total: number } & Partial<
  Record<`${'HasAns' | 'NoAns'}_${'exact' | 'f1' | 'total'}`, number> &
    Record<`best_${'exact' | 'f1'}${'' | '_thresh'}`, number>
>;

/** Python's string.punctuation: ASCII's alone. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
/** Python's `\b(a|an|the)\b`: its `\w` is a letter, a number or `_` of any script, and no combining mark. */
const ARTICLES = /(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])/gu;
/** Separators of Python's `split()`: JavaScript's `\s` lacks five of them, and has U+FEFF. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: U+1C to U+1F are among them
const SPACES = /[\p{White_Space}\x1c-\x1f]+/u;

/** Words of an answer: in lower case, without punctuation, then without articles. */
function words(text: string): string[] {
  const plain = text.toLowerCase().replace(PUNCTUATION, '').replace(ARTICLES, ' ');
  return plain.split(SPACES).filter((word) => word !== '');
}

/** An answer as it is compared. */
export const normalize = (text: string): string => words(text).join(' ');

/** Exact match and F1 with one right answer. Two answers without words agree. */
function compare(right: string[], said: string[]): Score {
  const exact = right.join(' ') === said.join(' ') ? 1 : 0;
  if (right.length === 0 || said.length === 0) return { exact, f1: exact };
  const left = new Map<string, number>();
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
  let same = 0;
  for (const word of said) {
    const count = left.get(word) ?? 0;
    if (count > 0) same++;
    left.set(word, count - 1);
  }
  const [precision, recall] = [same / said.length, same / right.length];
  return { exact, f1: same === 0 ? 0 : (2 * precision * recall) / (precision + recall) };
}

/** The best with any of the right answers, each measure for itself. */
function best(right: string[][], said: string[]): Score {
  const scores = right.map((answer) => compare(answer, said));
  const highest = (measure: keyof Score) => Math.max(...scores.map((score) => score[measure]));
  return { exact: highest('exact'), f1: highest('f1') };
}

/** Score of a text. Right answers without words do not count; where none is left, '' is right. */
export function scoreText(answers: readonly string[], text: string): Score {
  const right = answers.map(words).filter((answer) => answer.length > 0);
  return best(right.length > 0 ? right : [[]], words(text));
}

/**
 * Score of a text by SQuAD 1.1's own script (evaluate-v1.1.py): every right answer counts, those without words as well, and
 * without a word in common F1 is 0.
 */
function scoreText1(answers: readonly string[], text: string): Score {
  const said = words(text);
  const scores = best(answers.map(words), said);
  return said.length === 0 ? { ...scores, f1: 0 } : scores;
}

/**
 * Score of a prediction that is "no answer" where its `noAnswerScore` exceeds the threshold; without a threshold its text
 * counts, as in SQuAD 1.1.
 */
export function score(answers: readonly string[], { text, noAnswerScore }: Prediction, threshold?: number): Score {
  if (threshold === undefined) return scoreText1(answers, text);
  if (noAnswerScore <= threshold) return scoreText(answers, text);
  const right = answers.length === 0 ? 1 : 0;
  return { exact: right, f1: right };
}

/**
 * The official figures.
 * @param answers the right answers of each question; none where the passage has none
 * @param predictions one for each question
 * @param threshold of "no answer"; without one every best span counts, and there are `exact`, `f1` and `total` alone, as
 * its own script has them for SQuAD 1.1.
 */
export function figures(
  answers: readonly (readonly string[])[],
  predictions: readonly Prediction[],
  threshold?: number,
): Figures {
  const scores = answers.map((right, i) => score(right, predictions[i]!, threshold));
  const mean = (of: Score[], measure: keyof Score) =>
    (100 * of.reduce((sum, each) => sum + each[measure], 0)) / of.length;
  const all = { exact: mean(scores, 'exact'), f1: mean(scores, 'f1'), total: scores.length };
  if (threshold === undefined) return all;
  const part = (name: 'HasAns' | 'NoAns') => {
    const of = scores.filter((_, i) => answers[i]!.length > 0 === (name === 'HasAns'));
    if (of.length === 0) return {};
    return { [`${name}_exact`]: mean(of, 'exact'), [`${name}_f1`]: mean(of, 'f1'), [`${name}_total`]: of.length };
  };
  return { ...all, ...part('HasAns'), ...part('NoAns'), ...best('exact'), ...best('f1') };

  /** From "no answer" everywhere on, spans are let in by growing `noAnswerScore`; the first of the best counts. */
  function best(measure: keyof Score) {
    let sum = answers.filter((right) => right.length === 0).length;
    let [most, threshold] = [sum, 0];
    const order = predictions.map((_, i) => i);
    order.sort((a, b) => predictions[a]!.noAnswerScore - predictions[b]!.noAnswerScore);
    for (const i of order) {
      const { text, noAnswerScore } = predictions[i]!;
      if (answers[i]!.length > 0) sum += scoreText(answers[i]!, text)[measure];
      else if (text !== '') sum--;
      if (sum > most) [most, threshold] = [sum, noAnswerScore];
    }
    return { [`best_${measure}`]: (100 * most) / answers.length, [`best_${measure}_thresh`]: threshold };
  }
}

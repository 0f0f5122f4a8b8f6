/** Command lines of README and of the programs' help, as the tests run them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TINY } from './support.ts';

const BENCH = { samples: 2, seconds: 1, tokens: 16, device: 'cpu', dtype: 'int8', scheme: 'torch', threads: 1 };
const SHORT: Record<string, Record<string, string | number>> = {
  qa: { samples: 1, device: 'cpu', threads: 1 },
  bench: { ...BENCH, model: TINY },
  evaluate: { model: TINY, threads: 1 },
  answer: { model: TINY },
  explain: { model: TINY, question: 'a b', context: 'c d' },
};

/** Options that make a program's call short here, on a busy machine as well; they are given after its own. */
export const short = (program: string, args: readonly string[] = []): string[] =>
  Object.entries(SHORT[program] ?? {})
    .filter(([name]) => !(name === 'model' && args.includes('--shape'))) // these conflict
    .filter(([name]) => !(['question', 'context'].includes(name) && args.includes('--question')))
    .flatMap(([name, value]) => [`--${name}`, `${value}`]);

/** The words of a line, as a shell makes them of it. */
export const wordsOf = (line: string): string[] =>
  [...line.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word);

const PASSAGE = 'Ada wrote the first program in 1843.';
/** Writes the files that they read. */
export function filesOfExamples(folder: string): void {
  for (const name of ['passage.txt', 'ada.txt']) writeFileSync(join(folder, name), PASSAGE);
  writeFileSync(
    join(folder, 'questions.jsonl'),
    `${JSON.stringify({ id: 1, question: 'Who wrote the program?', context: PASSAGE })}\n`,
  );
  const answers = [{ text: 'b', answer_start: 2 }];
  const qas = [
    { id: '1', question: 'a?', answers },
    { id: '2', question: 'c?', answers },
  ];
  const file = (qas: object[]) =>
    JSON.stringify({ data: [{ title: 'made up', paragraphs: [{ context: 'a b c d', qas }] }] });
  writeFileSync(join(folder, 'dev-v1.1.json'), file(qas));
  const impossible = { ...qas[1], answers: [], is_impossible: true };
  writeFileSync(join(folder, 'dev-v2.0.json'), file([{ ...qas[0], is_impossible: false }, impossible]));
}

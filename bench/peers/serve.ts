/** The conversation of run.ts with an engine, in JavaScript: the engine says who it is and what its start took, then answers lines. */
import { createInterface } from 'node:readline';
import { peakBytes } from '../environment.ts';
import type { Hello } from './engines.ts';

export interface Asked {
  readonly question?: string;
  readonly context?: string;
  /** How often. */
  readonly times: number;
}
/** Text of an answer, or nothing where a forward is all that an engine does; other fields are passed on. */
export type Said =
  | { readonly text?: string; readonly milliseconds?: number; readonly [other: string]: unknown }
  | undefined;
export interface Engine extends Omit<Hello, 'start' | 'again' | 'kernels'> {
  readonly kernels?: string | undefined;
  readonly answer: (asked: Asked) => Promise<Said>;
  /** Frees the model and loads it anew. */
  readonly again?: () => Promise<unknown>;
}

const report = (value: object) => console.log(JSON.stringify(value));

/**
 * Starts an engine, has it answer the first question, and then each line of input, which is JSON of `Asked`. Ends the process
 * with its input.
 * @param open imports and loads the engine: its time is a part of the start
 */
export async function serve(open: () => Promise<Engine>, first: Omit<Asked, 'times'>): Promise<never> {
  const [begin, before] = [performance.now(), process.cpuUsage()];
  const { answer, again, ...about } = await open();
  await answer({ ...first, times: 1 });
  const milliseconds = performance.now() - begin;
  const { user, system } = process.cpuUsage(before);
  const start = { milliseconds, cpu: (user + system) / 1000, megabytes: peakBytes() / 2 ** 20 };
  const second = performance.now();
  await again?.();
  report({ ...about, start, ...(again && { again: performance.now() - second }) });
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line) as Asked;
    const times: number[] = [];
    let said: Said;
    for (let i = 0; i < asked.times; i++) {
      const at = performance.now();
      said = await answer(asked);
      times.push(said?.milliseconds ?? performance.now() - at);
    }
    report({ ...said, times });
  }
  process.exit(0);
}

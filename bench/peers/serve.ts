/** What the peers of run.ts in JavaScript have in common: they say who they are, then time what each line asks for. */
import { createInterface } from 'node:readline';

/**
 * For each line `DTYPE N` of input: N runs of that dtype, their milliseconds as JSON. Ends the process with its input.
 * @param runs may return the milliseconds that they took, where another clock knows better
 */
export async function serve(name: string, runs: Readonly<Record<string, () => Promise<unknown>>>): Promise<never> {
  console.log(JSON.stringify({ name, dtypes: Object.keys(runs) }));
  for await (const line of createInterface({ input: process.stdin })) {
    const at = line.lastIndexOf(' '); // a dtype may have a space in its name
    const run = runs[line.slice(0, at)]!;
    const ms: number[] = [];
    for (let i = 0; i < Number(line.slice(at)); i++) {
      const start = performance.now();
      const took = await run();
      ms.push(typeof took === 'number' ? took : performance.now() - start);
    }
    console.log(JSON.stringify(ms));
  }
  process.exit(0);
}

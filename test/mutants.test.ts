// @unit
/** The list of mutants is in step with the product: `npx node scripts/mutants.ts` would not start otherwise, and is run by hand. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MUTANTS } from '../scripts/mutants.ts';
import { ROOT } from './support.ts';

test.each(MUTANTS.map((mutant) => [mutant.file, mutant.from, mutant] as const))(
  '%s: `%s` is there once, and so is its test',
  (file, from, { to, test: name }) => {
    expect(readFileSync(join(ROOT, file), 'utf8').split(from).length - 1).toBe(1);
    expect(to).not.toBe(from);
    const found = ['.test.ts', 'es.test.ts'].some((end) =>
      existsSync(join(ROOT, 'test', `${name.replace(/\.test$/, '')}${end}`)),
    );
    expect(found, `test/${name}`).toBe(true);
  },
);

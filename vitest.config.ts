import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files of tests whose first line says that they are of this kind. */
const marked = (kind: string): string[] =>
  globSync('test/*.test.ts', { cwd: import.meta.dirname }).filter((file) =>
    readFileSync(join(import.meta.dirname, file), 'utf8').startsWith(`// @${kind}\n`),
  );
/** Tests that need no GPU, no browser and no process of their own: the loop of a developer. */
const unit = marked('unit');
/** Tests of the page as it is built. */
const page = marked('page');

/** What takes long first, also where vitest has seen no run yet: the page and the GPU, then the others, then what is short. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    const rank = ({ project, moduleId }: TestSpecification) =>
      moduleId.endsWith('/webgpu.test.ts') ? 0 : ['page', 'system', 'unit'].indexOf(project.name);
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    maxWorkers: availableParallelism() + 1, // many tests wait for a process or a page
    sequence: { sequencer: LongFirst },
    expect: { poll: { timeout: 60_000 } },
    testTimeout: 300_000, // SwiftShader takes seconds to compile a kernel, minutes on a busy machine: only a hang is late
    hookTimeout: 300_000,
    ...(process.env.BERTLET_MESSAGES && {
      setupFiles: ['test/messages.ts'],
      env: { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'test/messages.ts')}` }, // of what tests start
    }),
    projects: [
      { extends: true, test: { name: 'unit', include: unit, isolate: false } }, // one import of what they share
      { extends: true, test: { name: 'page', include: page, globalSetup: 'test/pageSetup.ts' } },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/*.test.ts'],
          exclude: [...unit, ...page],
          globalSetup: 'test/globalSetup.ts', // the driver of the GPU
        },
      },
    ],
  },
});

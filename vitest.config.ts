import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Tests that need no GPU, no browser and no process of their own: the loop of a developer. Their first line says so. */
const unit = globSync('test/*.test.ts', { cwd: import.meta.dirname }).filter((file) =>
  readFileSync(join(import.meta.dirname, file), 'utf8').startsWith('// @unit\n'),
);

export default defineConfig({
  test: {
    maxWorkers: availableParallelism(), // vitest would leave a core free
    expect: { poll: { timeout: 60_000 } },
    testTimeout: 300_000, // SwiftShader takes seconds to compile a kernel, minutes on a busy machine: only a hang is late
    hookTimeout: 300_000,
    ...(process.env.BERTLET_MESSAGES && {
      setupFiles: ['test/messages.ts'],
      env: { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'test/messages.ts')}` }, // of what tests start
    }),
    projects: [
      { extends: true, test: { name: 'unit', include: unit } },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/*.test.ts'],
          exclude: unit,
          globalSetup: 'test/globalSetup.ts', // the driver of the GPU
        },
      },
    ],
  },
});

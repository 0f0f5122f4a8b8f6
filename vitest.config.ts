import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Tests that need no GPU, no browser and no process of their own: the loop of a developer. */
const UNIT =
  'batch bert checkpoints cpu doors files hub load ops options qa quantize queue runtime safetensors sizes squad tokenizer webParts'.split(
    ' ',
  );

/** The files that take longest, the longest first: what starts last should be short, or one core waits for another. */
const LONGEST =
  'web webTrouble webVisit webgpu webgpuLife environments bench page logits answer explain cli docs package tokenizer caller cpuLife checkpoint help readme wide evaluate cpuSelfTest'.split(
    ' ',
  );

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.indexOf(basename(moduleId, '.test.ts'));
      return at < 0 ? LONGEST.length : at;
    };
    return files.toSorted((a, b) => rank(a) - rank(b));
  }
}

const filesOf = (names: string[]) => names.map((name) => `test/${name}.test.ts`);

export default defineConfig({
  test: {
    maxWorkers: availableParallelism(), // vitest would leave a core free
    sequence: { sequencer: LongestFirst },
    testTimeout: 300_000, // SwiftShader takes seconds to compile a kernel, minutes on a busy machine: only a hang is late
    hookTimeout: 300_000,
    projects: [
      { extends: true, test: { name: 'unit', include: filesOf(UNIT) } },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/*.test.ts'],
          exclude: filesOf(UNIT),
          globalSetup: 'test/globalSetup.ts', // the driver of the GPU
        },
      },
    ],
  },
});

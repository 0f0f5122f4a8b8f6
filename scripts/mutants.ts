/**
 * Breaks the product on purpose, one place at a time, and asks that a test notices: a suite that was made faster must still catch
 * what the slower one caught, and a test that cannot fail is a defect. test/mutants.json has the places: of a file the changes
 * (from, to) that one test must catch, a file of test/ and a part of a title. Too slow for every commit, so run by hand;
 * test/mutants.test.ts finds each place.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Command } from 'commander';
import { buildKernels, VARIANTS, writeAssets } from './build.ts';

const ROOT = join(import.meta.dirname, '..');

/** A change of one file, and the test that must turn red. */
export interface Mutant {
  readonly file: string;
  readonly test: string;
  readonly title?: string;
  readonly from: string;
  readonly to: string;
}
type Group = Omit<Mutant, 'from' | 'to'> & { readonly changes: [from: string, to: string][] };

export const MUTANTS: Mutant[] = (JSON.parse(readFileSync(join(ROOT, 'test/mutants.json'), 'utf8')) as Group[]).flatMap(
  ({ changes, ...group }) => changes.map(([from, to]) => ({ ...group, from, to })),
);

/** Copies what was built of the unbroken product. */
function copyBuilt(copy: string): void {
  for (const folder of ['dist', 'wasm']) cpSync(join(ROOT, folder), join(copy, folder), { recursive: true });
}

/** Copies the tree to a folder for temporary files, with what was built; the packages are the same. */
function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), 'bertlet-mutants-'));
  const left = ['.git', 'node_modules', 'test-output'];
  cpSync(ROOT, copy, { recursive: true, filter: (path) => !left.includes(relative(ROOT, path)) });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Builds what src has as text in the copy: the CPU's kernels where they changed, and the assets. */
async function buildCopy(copy: string, kernels: boolean): Promise<void> {
  for (const name of kernels ? VARIANTS : []) await buildKernels(join(copy, 'kernels'), join(copy, 'wasm'), name);
  await writeAssets(copy);
}

/** Runs the test that must fail: the title of the first that does, or undefined where all pass. */
function failureOf(copy: string, { test, title }: Mutant): string | undefined {
  const args = ['vitest', 'run', `test/${test}`, '--bail', '1', '--reporter', 'json', ...(title ? ['-t', title] : [])];
  const { stdout, stderr } = spawnSync('npx', args, { cwd: copy, encoding: 'utf8', maxBuffer: 2 ** 28 });
  const begin = stdout.indexOf('{"num');
  if (begin < 0) throw new Error(`${test}: no result\n${stdout}\n${stderr}`);
  const { numPassedTests, success, testResults } = JSON.parse(stdout.slice(begin, stdout.lastIndexOf('}') + 1)) as {
    numPassedTests: number;
    success: boolean;
    testResults: { name: string; message: string; assertionResults: { status: string; fullName: string }[] }[];
  };
  if (success && numPassedTests === 0) throw new Error(`${test}, ${title}: expected tests of this title, got none`);
  if (success) return undefined;
  const failures = testResults.flatMap((file) => file.assertionResults.filter(({ status }) => status === 'failed'));
  const start = testResults.find(({ message }) => message)?.message.split('\n')[0] ?? 'no message';
  return failures[0]?.fullName.trim() || `before the first test: ${start}`;
}

/** Runs all mutants whose file or change has each of the texts. */
async function run(texts: readonly string[]): Promise<void> {
  const chosen = MUTANTS.filter(({ file, from }) => texts.every((text) => file.includes(text) || from.includes(text)));
  const copy = copyTree();
  let survived = 0;
  try {
    const sound = new Map(chosen.map((mutant) => [`${mutant.test} ${mutant.title}`, mutant]));
    for (const [name, mutant] of sound) {
      const failed = failureOf(copy, mutant);
      if (failed) throw new Error(`${name}: expected a test that passes on the unbroken product, got ${failed}`);
    }
    for (const mutant of chosen) {
      const { file, from, to } = mutant;
      const path = join(copy, file);
      const original = readFileSync(path, 'utf8');
      const parts = original.split(from);
      if (parts.length !== 2) throw new Error(`${file}: expected ${from} once, got ${parts.length - 1} of it`);
      writeFileSync(path, parts.join(to));
      await buildCopy(copy, file.endsWith('.wasm.ts'));
      const failed = failureOf(copy, mutant);
      if (!failed) survived++;
      console.log(`${file}: ${from} -> ${to}: ${failed ?? '**survived**'}`);
      writeFileSync(path, original);
      copyBuilt(copy);
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  console.log(`\n${chosen.length} mutants, ${survived} survived`);
  process.exitCode = survived > 0 ? 1 : 0;
}

if (import.meta.main) {
  const command = new Command('mutants')
    .description('Breaks the product in one place after another, in a copy of the tree, and asks that a test fails.')
    .argument('[text...]', 'only places whose file or code has each of these')
    .addHelpText(
      'after',
      '\nAll take 10 to 15 minutes. Exit code 1 where a mutant survives, or where a test fails before.',
    )
    .parse();
  await run(command.args);
}

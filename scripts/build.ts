/**
 * `npm run build`: compiles the kernels (AssemblyScript) to wasm/ and the library (TypeScript) to dist/src. A copy of the
 * modules goes to dist/wasm, and those of the GPU (WGSL), which every driver compiles for itself, to dist/kernels: beside
 * dist/src as beside src, so that one address, which bundlers understand, is right in both.
 * What draws the reports' charts is packed into one file: nothing else needs its seventy packages.
 * Four modules of one source: with relaxed SIMD or without, for a shared memory (threads) or one that is not.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { rolldown } from 'rolldown';

const ROOT = join(import.meta.dirname, '..');

/** Compiles the kernels of a folder; `name` says which variant. */
export async function buildKernels(folder: string, out: string, name: string): Promise<void> {
  const { error, stderr } = await asc([
    join(folder, 'engine.wasm.ts'),
    ...['--outFile', join(out, `${name}.wasm`), '-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd'],
    ...(name.startsWith('relaxed') ? ['--enable', 'relaxed-simd'] : []),
    ...(name.endsWith('shared') ? ['--enable', 'threads', '--sharedMemory'] : []),
    ...['--importMemory', '--initialMemory', '2', '--maximumMemory', '65536'],
  ]);
  if (error) throw new Error(`${name}: ${error.message}\n${stderr}`);
}

/** Packs dist/programs/report/chart.js with Observable Plot and linkedom, and their licences beside it. */
async function packCharts(folder: string): Promise<void> {
  const chart = join(folder, 'chart.js');
  const bundle = await rolldown({ input: chart, platform: 'node', external: ['./page.js'] });
  const { output } = await bundle.write({ file: chart, minify: true, comments: false });
  await bundle.close();
  rmSync(`${chart}.map`); // of what is no longer there
  const packages = new Set<string>();
  for (const id of output[0].moduleIds) packages.add(/^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? '');
  const licences = [...packages]
    .filter(Boolean)
    .toSorted()
    .map((path) => {
      const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
      const [file] = globSync('{LICENSE,LICENCE,license}*', { cwd: path });
      return `${name} ${version}, ${license}\n\n${file ? readFileSync(join(path, file), 'utf8') : ''}`;
    });
  writeFileSync(join(folder, 'chart.licences.txt'), licences.join(`\n${'-'.repeat(80)}\n`));
}

const VARIANTS = ['relaxed', 'relaxed-shared', 'baseline', 'baseline-shared'];

if (import.meta.main) {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true }); // what it has is what will be packed
  const out = join(ROOT, 'wasm');
  mkdirSync(out, { recursive: true });
  for (const name of VARIANTS) await buildKernels(join(ROOT, 'kernels'), out, name);
  cpSync(out, join(ROOT, 'dist', 'wasm'), { recursive: true });
  mkdirSync(join(ROOT, 'dist', 'kernels'), { recursive: true });
  for (const file of globSync('kernels/*.wgsl', { cwd: ROOT })) cpSync(join(ROOT, file), join(ROOT, 'dist', file));
  execFileSync('tsc', ['-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' });
  await packCharts(join(ROOT, 'dist', 'programs', 'report'));
}

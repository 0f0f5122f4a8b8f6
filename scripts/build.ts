/**
 * `npm run build`: compiles the kernels (AssemblyScript) to wasm/ and the library (TypeScript) to dist/src. A copy of the
 * modules goes to dist/wasm, and those of the GPU (WGSL), which every driver compiles for itself, to dist/kernels: beside
 * dist/src as beside src, so that one address, which bundlers understand, is right in both.
 * Four modules of one source: with relaxed SIMD or without, for a shared memory (threads) or one that is not.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';

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

const VARIANTS = ['relaxed', 'relaxed-shared', 'baseline', 'baseline-shared'];

if (import.meta.main) {
  const out = join(ROOT, 'wasm');
  mkdirSync(out, { recursive: true });
  for (const name of VARIANTS) await buildKernels(join(ROOT, 'kernels'), out, name);
  cpSync(out, join(ROOT, 'dist', 'wasm'), { recursive: true });
  mkdirSync(join(ROOT, 'dist', 'kernels'), { recursive: true });
  for (const file of globSync('kernels/*.wgsl', { cwd: ROOT })) cpSync(join(ROOT, file), join(ROOT, 'dist', file));
  execFileSync('tsc', ['-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' });
}

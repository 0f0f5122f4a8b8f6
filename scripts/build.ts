/**
 * `npm run build`: compiles the kernels (AssemblyScript) to wasm/ and the library (TypeScript) to dist/src. The library
 * imports as text, from wasm/assets.js, the kernels, those of the GPU (WGSL), the code of its worker threads, and what its
 * self-test expects. So there is no file that a bundler must find, copy or serve, and the package runs wherever its
 * JavaScript does.
 * What draws the reports' charts is packed into one file: nothing else needs its seventy packages.
 * Four modules of one source: with relaxed SIMD or without, for a shared memory (threads) or one that is not.
 */
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { rolldown } from 'rolldown';
import { runOp } from '../kernels/op.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { selfTestCases } from '../src/devices/selfTest.ts';
import { Runtime } from '../src/runtime.ts';

const ROOT = join(import.meta.dirname, '..');

/** Compiles the kernels of a folder; `name` says which variant. */
export async function buildKernels(folder: string, out: string, name: string, level = ['-O3', '--converge']) {
  const { error, stderr } = await asc([
    join(folder, 'engine.wasm.ts'),
    ...['--outFile', join(out, `${name}.wasm`), ...level, '--noAssert', '--runtime', 'stub', '--enable', 'simd'],
    ...(name.startsWith('relaxed') ? ['--enable', 'relaxed-simd'] : []),
    ...(name.endsWith('shared') ? ['--enable', 'threads', '--sharedMemory'] : []),
    ...['--importMemory', '--initialMemory', '2', '--maximumMemory', '65536'],
  ]);
  if (error) throw new Error(`${name}: ${error.message}\n${stderr}`);
}

/** The code of a worker thread, packed into one script. */
async function workerCode(root: string): Promise<string> {
  const bundle = await rolldown({ input: join(root, 'src/devices/cpu/worker.ts'), platform: 'neutral' });
  const { output } = await bundle.generate({ format: 'iife', minify: true });
  await bundle.close();
  return output[0].code;
}

/**
 * Where a module says that its memory is shared: the one byte in which it differs from the module for a memory that is not
 * (the flags of the import's limits, 3 or 1). So the package has only one of the two.
 */
function sharedFlag(folder: string): number {
  const places = ['relaxed', 'baseline'].flatMap((set) => {
    const [shared, own] = ['-shared', ''].map((kind) => readFileSync(join(folder, `${set}${kind}.wasm`)));
    return [...shared!.keys()].filter((at) => shared![at] !== own![at] || shared!.length !== own!.length);
  });
  if (places.length !== 2 || places[0] !== places[1]) throw new Error(`expected one byte, got ${places}`);
  return places[0]!;
}

/** For each case of the self-test | the reference's result | the largest error of each element |, float32 in base64. */
async function expectedResults(): Promise<Record<string, string>> {
  const reference = new Runtime(new ReferenceDevice());
  const results: Record<string, string> = {};
  for (const { name, op, inputs } of selfTestCases()) {
    const want = await runOp(reference, op, inputs);
    const bound = op.bound(inputs).map((error) => error * (1 + 2 ** -23)); // so that float32 does not round it down
    results[name] = Buffer.from(Float32Array.of(...want, ...bound).buffer).toString('base64');
  }
  return results;
}

/** A shader as a page downloads it: half of the files is for their readers. */
const withoutComments = (wgsl: string): string =>
  wgsl
    .replace(/\/\/.*/g, '')
    .replace(/^\s+|\s+$/gm, '')
    .replace(/\n+/g, '\n');

/** Files that the library has as text, from the tree at `root`, whose WebAssembly modules are built. */
export async function assetsOf(root: string) {
  const folder = join(root, 'wasm');
  const named = (pattern: string, from: string, textOf: (path: string) => string) =>
    Object.fromEntries(
      globSync(pattern, { cwd: from })
        .toSorted()
        .map((file) => [parse(file).name.replace('-shared', ''), textOf(join(from, file))]),
    );
  return {
    WASM: named('*-shared.wasm', folder, (path) => readFileSync(path, 'base64')),
    SHARED_FLAG: sharedFlag(folder),
    WGSL: named('*.wgsl', join(root, 'kernels'), (path) => withoutComments(readFileSync(path, 'utf8'))),
    WORKER: await workerCode(root),
    EXPECTED: await expectedResults(),
  };
}

/** Writes wasm/assets.js with its types, and a copy in dist/. */
export async function writeAssets(root: string): Promise<void> {
  const assets = Object.entries(await assetsOf(root));
  const code = assets.map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};\n`);
  const types = assets.map(([name, value]) => {
    const keys = Object.keys(value).map((key) => `'${key}'`);
    const type = typeof value === 'object' ? `Record<${keys.join(' | ')}, string>` : typeof value;
    return `export const ${name}: ${type};\n`;
  });
  for (const folder of [join(root, 'wasm'), join(root, 'dist', 'wasm')]) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'assets.js'), code.join(''));
    writeFileSync(join(folder, 'assets.d.ts'), types.join(''));
  }
}

/**
 * Takes away what tsc puts around the `import()` of a name: a helper for relative names, whose `this` Rollup warns of. Its
 * lines stay, empty, for the source map.
 */
function unwrapImport(file: string): void {
  const code = readFileSync(file, 'utf8')
    .replace(/^var (__rewrite\w+) = [\s\S]*?^};$/m, (helper) => helper.replace(/.+/g, ''))
    .replace(/__rewrite\w+\((.*?)\)/, '$1');
  writeFileSync(file, code);
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

export const VARIANTS = ['relaxed', 'relaxed-shared', 'baseline', 'baseline-shared'];

if (import.meta.main) {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true }); // what it has is what will be packed
  const out = join(ROOT, 'wasm');
  mkdirSync(out, { recursive: true });
  for (const name of VARIANTS) await buildKernels(join(ROOT, 'kernels'), out, name);
  await writeAssets(ROOT);
  execFileSync('tsc', ['-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' });
  unwrapImport(join(ROOT, 'dist/src/devices/webgpu/start.js'));
  await packCharts(join(ROOT, 'dist', 'programs', 'report'));
}

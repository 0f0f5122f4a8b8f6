/** docs/engine.md's table of ops and devices, from the files of kernels/: none is missing. */
import { globSync, readFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { ALL_OPS } from '../kernels/index.ts';
import { KERNELS } from '../src/devices/webgpu/program.ts';

const FOLDER = join(import.meta.dirname, '..', 'kernels');
/** Files that several ops share: arithmetic, declarations, the module itself, and what uploads call. */
const SHARED =
  /^(math|engine|grouping|pack|probe|quantizeWeight|halfToFloat)\.wasm\.ts$|^(common|activation|row|reduce)\.wgsl$/;
/** Names of an op's definition, commands of the CPU, and kernels of the GPU, where they are not its own. */
interface Names {
  file?: string;
  cpu?: string[];
  gpu?: (keyof typeof KERNELS)[];
}
const ELEMENTWISE: Names = { file: 'elementwise', cpu: ['elementwise'], gpu: ['elementwise'] };
const NAMES: Record<string, Names> = {
  ...{ add: ELEMENTWISE, mul: ELEMENTWISE, activation: ELEMENTWISE },
  embedding: { cpu: ['rows'], gpu: ['rows'] },
  linear: { gpu: ['linear', 'linearFp16'] },
  linearInt8: { cpu: ['quantize', 'linearInt8'] },
  matmul: { cpu: ['packRows', 'linear'], gpu: ['transpose', 'linear'] },
  transpose: { file: 'matmul' },
};

const files = globSync('*.{wasm.ts,wgsl}', { cwd: FOLDER })
  .filter((name) => !SHARED.test(name))
  .toSorted();
const text = (name: string) => readFileSync(join(FOLDER, name), 'utf8');

/** The file that has a command, and those that it takes kernels from. */
function wasmFiles(command: string): string[] {
  const has = files.find((name) => name.endsWith('.ts') && text(name).includes(`export function ${command}(command: `));
  if (!has) throw new Error(`kernels: expected a command ${command}, got none.`);
  const imports = [...text(has).matchAll(/from '\.\/(\w+)\.wasm'/g)].map(([, name]) => `${name}.wasm.ts`);
  return [has, ...imports.filter((name) => files.includes(name))];
}

/** @throws Error where a file of kernels/ is in no row */
export function opTable(): string {
  const left = new Set(files);
  const links = (some: string[]) => {
    for (const file of some) left.delete(file);
    return some.map((file) => `[${file}](../kernels/${file})`).join(', ');
  };
  const rows = ALL_OPS.map(({ name }) => {
    const { file = name, cpu = [name], gpu = [name as keyof typeof KERNELS] } = NAMES[name] ?? {};
    const parts: string[] = gpu.flatMap((kernel) => KERNELS[kernel]);
    const webgpu = files.filter((path) => path.endsWith('.wgsl') && parts.includes(parse(path).name));
    const wasm = [...new Set(cpu.flatMap(wasmFiles))];
    return `| ${name} | [${file}.ts](../kernels/${file}.ts) | ${links(wasm)} | ${links(webgpu)} |`;
  });
  if (left.size > 0) throw new Error(`kernels: expected an op for each file, got none for ${[...left].join(', ')}.`);
  return ['| op | definition | cpu | webgpu |', '|---|---|---|---|', ...rows].join('\n');
}

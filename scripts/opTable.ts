/** docs/engine.md's table of ops and devices, from the files of kernels/: none is missing. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ALL_OPS } from '../kernels/index.ts';

const KERNELS = join(import.meta.dirname, '..', 'kernels');
/** Files that several ops share: arithmetic, declarations, the module itself, and what uploads call. */
const SHARED =
  /^(math|engine|grouping|pack|probe|quantizeWeight|halfToFloat)\.wasm\.ts$|^(common|activation|row|reduce)\.wgsl$/;
/** Commands of the CPU that an op is made of, where it is not one of its own name alone. */
const COMMANDS: Record<string, string[]> = {
  ...{ linearInt8: ['quantize', 'linearInt8'], embedding: ['rows'], matmul: ['packRows', 'linear'] },
  ...{ add: ['elementwise'], mul: ['elementwise'], activation: ['elementwise'] },
};
/** Where an op is defined, if not in a file of its name. */
const DEFINED: Record<string, string> = {
  ...{ add: 'elementwise', mul: 'elementwise', activation: 'elementwise', transpose: 'matmul' },
};
/** linearInt8 is linear on the GPU, with another product, weight and store; matmul is a transposition and a linear. */
const WGSL: Record<string, RegExp> = {
  embedding: /^rows\.wgsl$/,
  add: /^elementwise\.wgsl$/,
  mul: /^elementwise\.wgsl$/,
  activation: /^elementwise\.wgsl$/,
  matmul: /^(transpose|linear(\.float)?)\.wgsl$/,
  linear: /^(linear(\.float)?|weight\.fp\d+)\.wgsl$/,
  linearInt8: /^(linear(\.int8)?|quantizer)\.wgsl$/,
};

const names = globSync('*.{wasm.ts,wgsl}', { cwd: KERNELS })
  .filter((name) => !SHARED.test(name))
  .toSorted();
const text = (name: string) => readFileSync(join(KERNELS, name), 'utf8');

/** The file that has a command, and those that it takes kernels from. */
function wasmFiles(command: string): string[] {
  const has = names.find(
    (name) => name.endsWith('.wasm.ts') && text(name).includes(`export function ${command}(command: `),
  );
  if (!has) throw new Error(`kernels: expected a command ${command}, got none.`);
  const imports = [...text(has).matchAll(/from '\.\/(\w+)\.wasm'/g)].map(([, name]) => `${name}.wasm.ts`);
  return [has, ...imports.filter((name) => names.includes(name))];
}

/** @throws Error where a file of kernels/ is in no row */
export function opTable(): string {
  const left = new Set(names);
  const links = (files: string[]) => {
    for (const file of files) left.delete(file);
    return files.map((file) => `[${file}](../kernels/${file})`).join(', ');
  };
  const rows = ALL_OPS.map(({ name }) => {
    const cpu = [...new Set((COMMANDS[name] ?? [name]).flatMap(wasmFiles))];
    const webgpu = names.filter((file) => (WGSL[name] ?? new RegExp(`^${name}\\.wgsl$`)).test(file));
    const file = `${DEFINED[name] ?? name}.ts`;
    return `| ${name} | [${file}](../kernels/${file}) | ${links(cpu)} | ${links(webgpu)} |`;
  });
  if (left.size > 0) throw new Error(`kernels: expected an op for each file, got none for ${[...left].join(', ')}.`);
  return ['| op | definition | cpu | webgpu |', '|---|---|---|---|', ...rows].join('\n');
}

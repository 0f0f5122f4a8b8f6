/**
 * Packs what a machine with a GPU and nothing else needs to run `bertlet bench`: Node, bertlet, and `webgpu`'s binary
 * for this platform. `npx node scripts/pack.ts FILE.tar.xz`, and there `tar -xJf FILE.tar.xz && ./pack/run --device webgpu`.
 * The weights are seeded random ones, made there. A Vulkan loader comes along, for machines that have a driver and none.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { driverEnvironment } from './driver.ts';

const ROOT = join(import.meta.dirname, '..');
const LIMIT = 64 * 2 ** 20;

const [file] = new Command('pack').argument('<file>', 'the archive to write, *.tar.xz').parse().args;
const temporary = mkdtempSync(join(tmpdir(), 'bertlet-'));
try {
  const folder = join(temporary, 'pack');
  const copy = (from: string, to = from) => cpSync(join(ROOT, from), join(folder, to), { recursive: true });
  mkdirSync(folder);
  cpSync(process.execPath, join(folder, 'node'));
  execFileSync('strip', [join(folder, 'node')]); // of symbols
  for (const path of ['src', 'kernels', 'bench', 'programs', 'wasm', 'package.json']) copy(path);
  const needed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: ROOT, encoding: 'utf8' });
  for (const path of needed.trim().split('\n').slice(1)) if (!path.endsWith('/webgpu')) copy(relative(ROOT, path));
  const binary = `node_modules/webgpu/dist/${process.platform}-${process.arch}`;
  for (const path of ['node_modules/webgpu/package.json', 'node_modules/webgpu/index.js', binary]) copy(path);
  mkdirSync(join(folder, 'lib'));
  cpSync(join(driverEnvironment().VK_DRIVER_FILES, '..', 'libvulkan.so.1'), join(folder, 'lib', 'libvulkan.so.1'));
  const run = [
    '#!/bin/sh',
    'cd "$(dirname "$0")" || exit 1',
    'ldconfig -p 2>/dev/null | grep -q libvulkan.so.1 || export LD_LIBRARY_PATH="$PWD/lib:$LD_LIBRARY_PATH"',
    'exec ./node programs/main.ts bench --shape minilm-l6 "$@"',
  ];
  writeFileSync(join(folder, 'run'), `${run.join('\n')}\n`);
  chmodSync(join(folder, 'run'), 0o755);
  execFileSync('tar', ['-C', temporary, '-cJf', resolve(file!), 'pack'], {
    env: { ...process.env, XZ_OPT: '-9e -T2' },
  });
} finally {
  rmSync(temporary, { recursive: true });
}
const { size } = statSync(file!);
console.log(`${file}: ${(size / 2 ** 20).toFixed(1)} MiB`);
if (size > LIMIT) {
  console.error(`expected at most ${LIMIT / 2 ** 20} MiB`);
  process.exitCode = 1;
}

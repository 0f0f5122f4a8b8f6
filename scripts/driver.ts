/**
 * A Vulkan driver that computes on the CPU, SwiftShader, and a headless Chromium: both from the npm package
 * `@sparticuz/chromium`, unpacked to node_modules/.cache, without root and without a package manager.
 * `npx node scripts/driver.ts COMMAND ...` runs a command with the driver.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const CACHE = join(import.meta.dirname, '..', 'node_modules', '.cache');
const FOLDER = join(CACHE, 'chromium');

/** Unpacks what the package holds, once. */
function unpack(): void {
  if (existsSync(FOLDER)) return;
  const temporary = `${FOLDER}.${process.pid}`;
  mkdirSync(temporary, { recursive: true });
  // It unpacks to the folder for temporary files, and its shared libraries only where it believes itself on AWS.
  const env = { ...process.env, TMPDIR: temporary, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs22.x' };
  const code = "import chromium from '@sparticuz/chromium'; await chromium.executablePath();";
  execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: import.meta.dirname, env });
  try {
    renameSync(temporary, FOLDER); // whole or not at all
  } catch {
    rmSync(temporary, { recursive: true }); // another process was first
  }
}

/** Variables that a process needs before it starts, for Dawn to find SwiftShader. */
export function driverEnvironment(): Record<'LD_LIBRARY_PATH' | 'VK_DRIVER_FILES', string> {
  unpack();
  const libraries = [FOLDER, ...(process.env.LD_LIBRARY_PATH ? [process.env.LD_LIBRARY_PATH] : [])];
  return { LD_LIBRARY_PATH: libraries.join(':'), VK_DRIVER_FILES: join(FOLDER, 'vk_swiftshader_icd.json') };
}

/** Program and environment of the headless Chromium. */
export function headlessChromium(): { executablePath: string; env: NodeJS.ProcessEnv } {
  unpack();
  const env = { ...process.env, LD_LIBRARY_PATH: join(FOLDER, 'al2023', 'lib') };
  return { executablePath: join(FOLDER, 'chromium'), env };
}

if (import.meta.main) {
  const [command, ...args] = process.argv.slice(2);
  const env = { ...process.env, ...driverEnvironment() };
  process.exitCode = spawnSync(command!, args, { stdio: 'inherit', env }).status ?? 1;
}

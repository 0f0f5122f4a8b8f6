/** The page (web/), built once for all files of tests that begin with `// @page`. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export default function setup(): void {
  const env = { ...process.env, NODE_ENV: 'production' };
  execFileSync('npm', ['run', 'build:web'], { cwd: join(import.meta.dirname, '..'), env });
}

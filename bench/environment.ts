/** The machine and the software of a benchmark. Nothing here names the host or a folder of it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { VERSION } from './version.ts';

export interface Environment {
  readonly bertlet: string;
  /** Commit of the sources, "-dirty" where they differ from it; null outside a repository. */
  readonly commit: string | null;
  readonly date: string;
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** Runnable processes, mean of the minute before. */
  readonly load: number;
  readonly platform: string;
  readonly node: string;
  readonly v8: string;
}

/** The CPU's name, and on x86 its family and model: virtual machines call several generations "AMD EPYC". */
function cpuName(): string {
  const name = cpus()[0]?.model.trim() || 'unknown';
  if (!existsSync('/proc/cpuinfo')) return name;
  const text = readFileSync('/proc/cpuinfo', 'utf8');
  const [family, model] = ['cpu family', 'model'].map((key) => new RegExp(`^${key}\\s*: (\\d+)`, 'm').exec(text)?.[1]);
  return family ? `${name} (family ${family}, model ${model})` : name;
}

/** @param root the folder of the sources */
export function environment(root = join(import.meta.dirname, '..')): Environment {
  const describe = ['-C', root, 'describe', '--always', '--abbrev=12', '--dirty', '--exclude=*'];
  const own = existsSync(join(root, '.git')); // where bertlet is installed it would be the other project's
  const git = own ? spawnSync('git', describe, { encoding: 'utf8' }) : null;
  return {
    bertlet: VERSION,
    commit: git?.status === 0 ? git.stdout.trim() : null,
    date: new Date().toISOString(),
    cpu: cpuName(),
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    load: loadavg()[0]!,
    platform: `${platform()} ${arch()}`,
    node: process.version,
    v8: process.versions.v8,
  };
}

/** Milliseconds that the cores of the machine were busy so far, and this process alone. */
function busyTimes() {
  const all = cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0);
  const { user, system } = process.cpuUsage();
  return { at: performance.now(), all, own: (user + system) / 1000 };
}

/**
 * Watches how many cores other processes keep busy from now on: returns what tells the mean so far. It is 0 in the first quarter
 * of a second, which has too few ticks of the system's clock.
 */
export function watchOthers(): () => number {
  const begin = busyTimes();
  return () => {
    const { at, all, own } = busyTimes();
    return at - begin.at < 250 ? 0 : Math.max(0, all - begin.all - (own - begin.own)) / (at - begin.at);
  };
}

/** A machine as one line. */
export const machine = ({ cpu, cores, load, node, commit, date }: Environment): string =>
  `${cpu}, ${cores} cores (load ${load.toFixed(1)} at the start), Node ${node}, commit ${commit}, ${date.slice(0, 10)}`;

/** The most memory that this process has had in use so far (peak RSS). */
export function peakBytes(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  // Not maxRSS, which a child inherits from the process that started it.
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;
}

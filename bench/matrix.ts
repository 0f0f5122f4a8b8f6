/**
 * The article's experiment as a matrix: device x dtype x scheme, each variant in a process of its own (variant.ts), a few
 * forwards at a time in turn (turns.ts). The result is one JSON object, with measurements in optimum-benchmark's shape.
 */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';
import { tensorShapes } from '../src/checkpoint/config.ts';
import { elements } from '../src/checkpoint/safetensors.ts';
import { inputError } from '../src/errors.ts';
import { BertletError, type Dtype, type Info, type Scheme } from '../src/index.ts';
import type { BertConfig } from '../src/tensor.ts';
import { dtypesOf, openCheckpoint } from '../src/tensor.ts';
import { environment } from './environment.ts';
import { latencyOf, type Protocol } from './measure.ts';
import { isSoftware, nameOf, type Point, type Result, type Row, rowOf, type Variant } from './result.ts';
import { fileBytes } from './sizes.ts';
import { type Child, startChild, takeTurns } from './turns.ts';
import type { Hello, Job, Order, Stages, State } from './variant.ts';

/** In the sources a .ts, in the package a .js, as this file. */
const VARIANT = join(import.meta.dirname, `variant${extname(import.meta.filename)}`);

export interface MatrixOptions {
  /** Folder of the checkpoint. */
  readonly folder: string;
  /** How the result calls it. */
  readonly name: string;
  /** Command that repeats it. */
  readonly command: string;
  readonly devices: readonly Variant['device'][];
  readonly dtypes: readonly Dtype[];
  readonly schemes: readonly Scheme[];
  readonly tokens: readonly number[];
  readonly threads?: number;
  readonly protocol: Protocol;
  /** Measure also over lengths, over threads, and by stage. */
  readonly sweep: boolean;
  readonly question: string;
  readonly context: string;
  /** Called with the name of the step under way, and how much of it is done. */
  readonly onProgress?: (what: string, done: number, total: number) => void;
}

/** Forwards of a turn. */
const TURN = 5;
/** The lengths of a sweep; those that the model has positions for. */
const LENGTHS = [16, 32, 64, 128, 256, 384, 512];

type Running = { readonly variant: Variant; readonly child: Child; readonly hello: Extract<Hello, { info: unknown }> };
type Skipped = Result['skipped'][number];

/**
 * Runs the matrix.
 * @throws BertletError `input` for a length that the model has no positions for or where no variant is left; `device`
 * where a variant dies, with its name; what `load` throws.
 */
export async function runMatrix(options: MatrixOptions): Promise<Result> {
  const { folder, protocol, onProgress = () => {} } = options;
  const begun = environment(); // with the load before this makes its own
  const checkpoint = await openCheckpoint(folder);
  checkpoint.close();
  const { config } = checkpoint;
  const tokens = [...new Set(options.tokens)].toSorted((a, b) => a - b); // a later row's peak memory includes an earlier's
  const longest = tokens.at(-1)!;
  if (longest > config.positions) throw inputError('tokens', `at most the model's ${config.positions}`, longest);
  const variants = variantsOf(options, checkpoint.scheme);
  if (variants.length === 0) {
    const stored = checkpoint.scheme ? `, an int8 ${checkpoint.scheme} checkpoint` : '';
    throw inputError('device, dtype, scheme', `a combination that ${options.name}${stored} has`, 'none');
  }
  await readOnce(folder);

  const skipped: Skipped[] = [];
  const running: Running[] = [];
  try {
    for (const [i, variant] of variants.entries()) {
      onProgress(`load ${nameOf(variant)}`, i, variants.length);
      const started = await start(options, variant);
      if ('child' in started) running.push(started);
      else skipped.push(started);
    }
    const rows: Row[] = [];
    for (const length of tokens) {
      const states = await sample(running, length, protocol, onProgress);
      const base = running.findIndex(({ variant }) => nameOf(variant) === 'cpu fp32');
      const baseline = base < 0 ? null : latencyOf(states[base]!.milliseconds).p50;
      for (const [i, state] of states.entries()) {
        const { variant, hello } = running[i]!;
        const bytes = fileBytes(checkpoint, variant.scheme ?? (variant.dtype as 'fp32' | 'fp16'));
        rows.push(rowOf(variant, hello, state, { model: options.name, tokens: length, protocol, bytes, baseline }));
      }
    }
    const swept = options.sweep
      ? await sweep(options, config.positions, running, longest)
      : { sweeps: null, stages: null };
    return {
      version: 1,
      environment: { ...begun, ...seenBy(running.map(({ hello }) => hello.info)) },
      command: options.command,
      model: { name: options.name, config, parameters: parameters(config) },
      protocol,
      benchmarks: rows,
      skipped,
      ...swept,
    };
  } finally {
    await endAll(running);
  }
}

const parameters = (config: BertConfig): number =>
  [...tensorShapes(config).values()].reduce((sum, { shape }) => sum + elements(shape), 0);

/** All that were asked for, that the device has, and that the checkpoint can be: one in int8 is what it is. */
function variantsOf({ devices, dtypes, schemes }: MatrixOptions, stored: Scheme | null): Variant[] {
  return devices.flatMap((device) =>
    dtypesOf(device)
      .filter((dtype) => dtypes.includes(dtype) && (!stored || dtype === 'int8'))
      .flatMap((dtype): Variant[] =>
        dtype !== 'int8'
          ? [{ device, dtype }]
          : schemes.filter((scheme) => !stored || scheme === stored).map((scheme) => ({ device, dtype, scheme })),
      ),
  );
}

/** Reads the weights once: else the first variant would load from the disk, and the others from the system's cache. */
async function readOnce(folder: string): Promise<void> {
  for (const file of await readdir(folder)) {
    if (/^(model\.safetensors|pytorch_model\.bin)$/.test(file))
      for await (const _ of createReadStream(join(folder, file)));
  }
}

/** Starts a variant's process; a device that is not there is a reason to go on without. */
async function start(
  options: MatrixOptions,
  variant: Variant,
  extra: Partial<Job['options']> = {},
): Promise<Running | Skipped> {
  const { folder, threads, question, context } = options;
  const loading = { ...variant, ...(threads && { threads }), ...extra };
  const job: Job = { model: folder, options: loading, question, context };
  const name = nameOf(variant);
  const child = startChild(name, process.execPath, [VARIANT, JSON.stringify(job)]);
  try {
    const hello = await child.next<Hello>();
    if ('info' in hello) return { variant, child, hello };
    const { error, code } = hello;
    if (code !== 'device' || variant.device === 'cpu') throw new BertletError(code, error);
    await child.end();
    return { variant, name, reason: error };
  } catch (error) {
    await child.end();
    throw error;
  }
}

const endAll = (running: readonly Running[]) => Promise.all(running.map(({ child }) => child.end()));

/** Has variants take turns at one length until each has its samples. */
async function sample(
  running: readonly Running[],
  tokens: number,
  protocol: Protocol,
  onProgress: NonNullable<MatrixOptions['onProgress']>,
): Promise<State[]> {
  const each = protocol.warmups + protocol.samples;
  const done = running.map(() => 0);
  const states: State[] = [];
  await takeTurns(
    running.map(({ variant, child }, i) => async () => {
      const order: Order = { order: 'turn', tokens, protocol, forwards: TURN };
      const state = await child.ask<State>(JSON.stringify(order));
      states[i] = state;
      done[i] = state.done ? each : state.warmups + state.milliseconds.length;
      const sum = done.reduce((a, b) => a + b, 0);
      onProgress(`${tokens} tokens, ${nameOf(variant)}`, sum, each * running.length);
      return !state.done;
    }),
  );
  return states;
}

/** A sweep's share of the samples and of the time: a line through many points needs less for each. */
const SWEEP_SHARE = 5;

/**
 * How latency grows with tokens and with threads, and where the time of one forward goes. A variant leaves the sweep over
 * lengths where a forward takes longer than the time for a point. Ends what is running.
 */
async function sweep(options: MatrixOptions, positions: number, running: readonly Running[], tokens: number) {
  const { onProgress = () => {} } = options;
  const { warmups, samples, seconds } = options.protocol;
  const share = (count: number) => Math.ceil(count / SWEEP_SHARE);
  const protocol: Protocol = { warmups: share(warmups), samples: share(samples), seconds: seconds / SWEEP_SHARE };
  const points = (some: readonly Running[], length: number, states: readonly State[]): Point[] =>
    states.map(({ warmups, milliseconds }, i) => {
      const { variant, hello } = some[i]!;
      const { threads = null } = hello.info;
      const latency = latencyOf(milliseconds);
      return { name: nameOf(variant), variant, tokens: length, threads, warmups, latency };
    });

  const overTokens: Point[] = [];
  let left = running;
  for (const length of LENGTHS.filter((each) => each <= positions)) {
    const found = points(left, length, await sample(left, length, protocol, onProgress));
    overTokens.push(...found);
    left = left.filter((_, i) => found[i]!.latency.p50 < protocol.seconds);
  }

  const stages: NonNullable<Result['stages']> = [];
  const addStages = async ({ variant, child }: Running) => {
    onProgress(`stages of ${nameOf(variant)}`, stages.length, running.length);
    const order: Order = { order: 'stages', tokens, forwards: 3 };
    stages.push({
      name: nameOf(variant),
      variant,
      tokens,
      milliseconds: await child.ask<Stages>(JSON.stringify(order)),
    });
  };
  for (const each of running) if (each.variant.device === 'cpu') await addStages(each);
  await endAll(running);
  for (const { variant } of running) {
    if (variant.device === 'cpu') continue;
    await using(options, [variant], { profile: true }, ([one]) => addStages(one!)); // a pass for each dispatch: not what is timed above
  }

  const overThreads: Point[] = [];
  const cpu = running.map(({ variant }) => variant).filter(({ device }) => device === 'cpu');
  for (const threads of cpu.length > 0 ? threadCounts() : []) {
    await using(options, cpu, { threads }, async (some) => {
      const name = (what: string, done: number, total: number) =>
        onProgress(`${threads} threads, ${what}`, done, total);
      overThreads.push(...points(some, tokens, await sample(some, tokens, protocol, name)));
    });
  }
  return { sweeps: { protocol, tokens: overTokens, threads: overThreads }, stages };
}

/** Variants in processes of their own for as long as `use` takes. They have started before, so they start. */
async function using(
  options: MatrixOptions,
  variants: Variant[],
  extra: Partial<Job['options']>,
  use: (running: Running[]) => Promise<void>,
) {
  const running: Running[] = [];
  try {
    for (const variant of variants) {
      const started = await start(options, variant, extra);
      if (!('child' in started)) throw new BertletError('device', started.reason);
      running.push(started);
    }
    await use(running);
  } finally {
    await endAll(running);
  }
}

/** 1, 2, 4, ... and as many as there are cores. */
function threadCounts(cores = availableParallelism()): number[] {
  const counts = [cores];
  for (let n = 1; n < cores; n *= 2) counts.push(n);
  return counts.toSorted((a, b) => a - b);
}

/** Facts that the engine tells of the machine; an int8 model's of the CPU, which name the kernels of both dtypes. */
function seenBy(infos: readonly Info[]) {
  const int8First = infos.toSorted((a, b) => Number(b.dtype === 'int8') - Number(a.dtype === 'int8'));
  const [cpu, gpu] = (['cpu', 'webgpu'] as const).map((name) => int8First.find(({ device }) => device === name));
  return {
    kernels: cpu?.kernels ?? null,
    reason: cpu?.reason ?? null,
    threads: cpu?.threads ?? null,
    adapter: gpu?.adapter ?? null,
    gpuKernels: gpu?.kernels ?? null,
    software: gpu ? isSoftware(gpu) : null,
  };
}

/** The engine, in a worker of its own: whatever it computes, the page stays free to be typed in. */
import { median, type Protocol, Sampler } from '../../bench/measure.ts';
import { fileBytes } from '../../bench/sizes.ts';
import { describeAdapter } from '../../src/devices/webgpu/start.ts';
import { type Answer, BertletError, load, type QuestionAnswering } from '../../src/index.ts';
import { Bert, openCheckpoint, openRuntime, weightsOf } from '../../src/tensor.ts';
import { explain } from '../explain/explain.ts';
import { slideOf } from '../explain/microscope.ts';
import { filesOf } from './files.ts';
import type { Calls, FromWorker, Machine, Model, Name, Settings, Texts, ToWorker } from './protocol.ts';

let current: QuestionAnswering | null = null;

type Tell<N extends Name> = (progress: Calls[N]['progress']) => void;

function open(model: Model, { device, dtype, scheme, threads }: Settings, onProgress?: Tell<'load'>) {
  return load(filesOf(model), {
    device,
    dtype,
    ...(dtype === 'int8' && { scheme }),
    ...(device === 'cpu' && { threads }),
    ...(onProgress && { onProgress }),
  });
}

async function machine(): Promise<Machine> {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return {
    cores: navigator.hardwareConcurrency,
    isolated: globalThis.crossOriginIsolated,
    shared: typeof SharedArrayBuffer !== 'undefined', // what the engine looks at
    gpu: adapter ? describeAdapter(adapter.info) : null,
  };
}

/** The model before is kept until this one is there: what works goes on working. */
async function loadModel({ model, settings }: Calls['load']['input'], tell: Tell<'load'>) {
  const begin = performance.now();
  const loaded = await open(model, settings, tell);
  await current?.dispose();
  current = loaded;
  return { info: loaded.info, milliseconds: performance.now() - begin };
}

/** Number of spans; enough that some are no part of the best. */
const CANDIDATES = 40;

async function answer(texts: Texts, tell: Tell<'answer'>, signal: AbortSignal) {
  if (!current) throw new BertletError('input', 'model: expected a loaded one, got none. Load one.');
  const begin = performance.now();
  let windows = 1;
  const onProgress = (progress: { done: number; total: number }) => {
    windows = progress.total;
    tell(progress);
  };
  const answers = await current.answer({ ...texts, topK: CANDIDATES, onProgress, signal });
  return { answers, windows, milliseconds: performance.now() - begin };
}

/** Few forwards, for a line that is there soon: after two, the median of these. */
const PACED = { warmups: 2, samples: 7, seconds: 1 };

/**
 * How fast int8 and float32 are here, on the CPU. The weights of float32 are those of int8 widened: they take the time that
 * any others would, and no visitor downloads a second file for one line.
 */
async function pace({ model, threads, texts }: Calls['pace']['input'], _: Tell<'pace'>, signal: AbortSignal) {
  const checkpoint = await openCheckpoint(filesOf(model));
  const runtime = await openRuntime('cpu', { threads });
  try {
    const { tokenizer, config, tensors, scheme } = checkpoint;
    const { ids, typeIds } = tokenizer.encodePair(texts.question, texts.context);
    const forwards = ([scheme ?? 'accurate', 'fp32'] as const).map((precision) => {
      const own = precision === 'fp32' ? { config, tensors } : checkpoint;
      const bert = new Bert(runtime, config, weightsOf(own, precision, runtime.device));
      return () => bert.forward(Int32Array.from(ids), Int32Array.from(typeIds));
    });
    const times = await sampled(forwards, PACED, signal);
    signal.throwIfAborted();
    const [int8, fp32] = times.map(median) as [number, number];
    return { int8, fp32, threads };
  } finally {
    checkpoint.close();
    await runtime.dispose();
  }
}

/** The article's table: these, in this order, each on the question and passage of the page. */
const MEASURED: Pick<Settings, 'device' | 'dtype'>[] = [
  { device: 'cpu', dtype: 'fp32' },
  { device: 'cpu', dtype: 'int8' },
  { device: 'webgpu', dtype: 'fp32' },
  { device: 'webgpu', dtype: 'fp16' },
  { device: 'webgpu', dtype: 'int8' },
];
/** The article's counts; a device that would need longer does as many as it can. */
const [WARM_UPS, SAMPLES, SECONDS] = [10, 100, 3];

async function measure(
  { model, threads, texts }: Calls['measure']['input'],
  tell: Tell<'measure'>,
  signal: AbortSignal,
): Promise<null> {
  const { gpu } = await machine();
  const checkpoint = await openCheckpoint(filesOf(model));
  checkpoint.close();
  for (const { device, dtype } of MEASURED) {
    const name = `${device === 'cpu' ? 'CPU' : 'WebGPU'} ${dtype}`;
    if (signal.aborted) break;
    tell(name);
    if (device === 'webgpu' && gpu?.software) {
      tell({ name, error: `Not measured: ${gpu.label} computes on the CPU.` });
      continue;
    }
    try {
      const begin = performance.now();
      const qa = await open(model, { device, dtype, scheme: 'torch', threads });
      const loading = performance.now() - begin;
      const timed = await time(qa, texts, signal).finally(() => qa.dispose());
      const bytes = fileBytes(checkpoint, dtype === 'int8' ? 'torch' : dtype);
      if (timed) tell({ name, info: qa.info, loading, bytes, ...timed });
    } catch (error) {
      tell({ name, error: (error as Error).message });
    }
  }
  return null;
}

/** An answer and the median time of it; null if stopped before the first. */
async function time(qa: QuestionAnswering, texts: Texts, signal: AbortSignal) {
  let answer: Answer | undefined;
  const ask = async () => {
    [answer] = await qa.answer(texts);
  };
  const protocol = { warmups: WARM_UPS, samples: SAMPLES, seconds: SECONDS };
  const [times = []] = await sampled([ask], protocol, signal);
  return times.length === 0 ? null : { median: median(times), samples: times.length, answer: answer! };
}

/** Milliseconds of each, in turns, until all are done or the signal ends them. */
async function sampled(runs: (() => Promise<unknown>)[], protocol: Protocol, signal: AbortSignal): Promise<number[][]> {
  const samplers = runs.map((run) => new Sampler(run, protocol, () => performance.now()));
  while (!signal.aborted && samplers.some(({ done }) => !done)) {
    for (const sampler of samplers) await sampler.turn(1);
    await new Promise((resolve) => setTimeout(resolve)); // so that `cancel` is heard
  }
  return samplers.map(({ milliseconds }) => milliseconds);
}

/** Each linear of the model alone and all together, in float and in both int8 schemes; `tell` is told the share done. */
async function explainTexts({ model, texts }: Calls['explain']['input'], tell: Tell<'explain'>, signal: AbortSignal) {
  const checkpoint = await openCheckpoint(filesOf(model));
  const start = async () => (await openRuntime('cpu', { threads: 1 })).device;
  const onProgress = ({ done, total }: { done: number; total: number }) => {
    signal.throwIfAborted();
    tell(done / total);
  };
  return explain(checkpoint, texts, start, onProgress).finally(checkpoint.close);
}

async function slide({ model, texts, linear }: Calls['slide']['input']) {
  const checkpoint = await openCheckpoint(filesOf(model));
  const { device } = await openRuntime('cpu', { threads: 1 });
  return slideOf(checkpoint, texts, device, linear).finally(checkpoint.close);
}

type Call<N extends Name> = (
  input: Calls[N]['input'],
  tell: Tell<N>,
  signal: AbortSignal,
) => Promise<Calls[N]['output']>;
const CALLS: { [N in Name]: Call<N> } = {
  machine,
  load: loadModel,
  answer,
  pace,
  measure,
  explain: explainTexts,
  slide,
};

/** One call after the other; those that wait can be cancelled, too. */
let last: Promise<void> = Promise.resolve();
const controllers = new Map<number, AbortController>();
addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  const { id, name } = data;
  if (name === 'cancel') {
    controllers.get(id)?.abort();
    return;
  }
  const { signal } = controllers.set(id, new AbortController()).get(id)!;
  const say = (message: FromWorker) => postMessage(message);
  const call = CALLS[name] as Call<Name>;
  const run = () => call(data.input, (value) => say({ id, kind: 'progress', value }), signal);
  last = last
    .then(run)
    .then(
      (value) => say({ id, kind: 'result', value }),
      (error: Error) => {
        const code = signal.aborted ? 'cancelled' : error instanceof BertletError ? error.code : 'unknown';
        say({ id, kind: 'error', code, message: error.message });
      },
    )
    .finally(() => controllers.delete(id));
});

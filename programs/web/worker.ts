/** The engine, in a worker of its own: whatever it computes, the page stays free to be typed in. */
import { Sampler } from '../../bench/measure.ts';
import { describeAdapter } from '../../src/devices/webgpu/start.ts';
import { type Answer, BertletError, blobs, type Files, load, type QuestionAnswering } from '../../src/index.ts';
import { openCheckpoint, openRuntime } from '../../src/tensor.ts';
import { explain } from '../explain/explain.ts';
import type { Calls, FromWorker, Machine, Model, Name, Settings, Texts, ToWorker } from './protocol.ts';

let current: QuestionAnswering | null = null;

type Tell<N extends Name> = (progress: Calls[N]['progress']) => void;

/** What `load` takes: a folder's address, a name of the Hub, or files that were dropped on the page. */
const filesOf = (model: Model): string | Files => (typeof model === 'string' ? model : blobs(model));

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

/** So many spans that those which are no part of the best are among them. */
const CANDIDATES = 40;

async function answer(texts: Texts, onProgress: Tell<'answer'>, signal: AbortSignal) {
  if (!current) throw new BertletError('input', 'model: expected a loaded one, got none. Load one.');
  const begin = performance.now();
  const answers = await current.answer({ ...texts, topK: CANDIDATES, onProgress, signal });
  return { answers, milliseconds: performance.now() - begin };
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
      if (timed) tell({ name, info: qa.info, loading, ...timed });
    } catch (error) {
      tell({ name, error: (error as Error).message });
    }
  }
  return null;
}

/** Samples after some that are not counted, for so many seconds at most; null if stopped before the first. */
async function time(qa: QuestionAnswering, texts: Texts, signal: AbortSignal) {
  let answer: Answer | undefined;
  const ask = async () => {
    [answer] = await qa.answer(texts);
  };
  const sampler = new Sampler(ask, { warmups: WARM_UPS, samples: SAMPLES, seconds: SECONDS }, () => performance.now());
  while (!signal.aborted && !sampler.done) {
    await sampler.turn(1);
    await new Promise((resolve) => setTimeout(resolve)); // so that `cancel` is heard
  }
  const samples = sampler.milliseconds.length;
  if (samples === 0) return null;
  return { median: sampler.milliseconds.toSorted((a, b) => a - b)[samples >> 1]!, samples, answer: answer! };
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

type Call<N extends Name> = (
  input: Calls[N]['input'],
  tell: Tell<N>,
  signal: AbortSignal,
) => Promise<Calls[N]['output']>;
const CALLS: { [N in Name]: Call<N> } = {
  machine,
  load: loadModel,
  answer,
  measure,
  explain: explainTexts,
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

/** The engine, in a worker of its own: whatever it computes, the page stays free to be typed in. */
import { median, type Protocol, Sampler } from '../../bench/measure.ts';
import { fileBytes } from '../../bench/sizes.ts';
import { describeAdapter } from '../../src/devices/webgpu/start.ts';
import { BertletError, type LoadOptions, load, type OnProgress, type QuestionAnswering } from '../../src/index.ts';
import { Bert, openCheckpoint, openRuntime, weightsOf } from '../../src/tensor.ts';
import { explain } from '../explain/explain.ts';
import { slideOf } from '../explain/microscope.ts';
import { filesOf } from './files.ts';
import type { Model, Said, Settings, Texts, Timing, Untimed } from './protocol.ts';

/** Second argument of a call: the page hears of progress, and may end it. */
interface Talk<P> {
  tell: (progress: P) => void;
  signal: AbortSignal;
}

let current: QuestionAnswering | null = null;

const open = (model: Model, { device, dtype, scheme, threads }: Settings, options: LoadOptions = {}) =>
  load(filesOf(model), {
    device,
    dtype,
    scheme: dtype === 'int8' ? scheme : undefined,
    threads: device === 'cpu' ? threads : undefined,
    ...options,
  });

async function gpu(_: null) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return adapter ? describeAdapter(adapter.info) : null;
}

/** The model before is kept until this one is there: what works goes on working, also where this is cancelled. */
async function loadModel(
  { model, settings }: { model: Model; settings: Settings },
  { tell, signal }: Talk<Parameters<OnProgress>[0]>,
) {
  const begin = performance.now();
  const loaded = await open(model, settings, { onProgress: tell, signal });
  await current?.dispose();
  current = loaded;
  return { info: loaded.info, milliseconds: performance.now() - begin };
}

/** Number of spans; enough that some are no part of the best. */
const CANDIDATES = 40;

/** The page is told of the windows of the passage. */
async function answer(texts: Texts, { tell, signal }: Talk<{ done: number; total: number }>) {
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
async function pace(
  { model, threads, texts }: { model: Model; threads: number; texts: Texts },
  { signal }: Talk<never>,
) {
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
    const [int8, fp32] = (await sampled(forwards, PACED, signal)).map(median) as [number, number];
    return { int8, fp32 };
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
const ARTICLES = { warmups: 10, samples: 100, seconds: 3 };

/** The page is told the name of a line, and then the line. */
async function measure(
  { model, threads, texts }: { model: Model; threads: number; texts: Texts },
  { tell, signal }: Talk<Timing | Untimed | string>,
): Promise<void> {
  const adapter = await gpu(null);
  const checkpoint = await openCheckpoint(filesOf(model));
  checkpoint.close();
  for (const { device, dtype } of MEASURED) {
    const name = `${device === 'cpu' ? 'CPU' : 'WebGPU'} ${dtype}`;
    tell(name);
    if (device === 'webgpu' && adapter?.software) {
      tell({ name, error: `Not measured: ${adapter.label} computes on the CPU.` });
      continue;
    }
    try {
      const begin = performance.now();
      const qa = await open(model, { device, dtype, scheme: 'torch', threads });
      const loading = performance.now() - begin;
      const [times] = await sampled([() => qa.answer(texts)], ARTICLES, signal).finally(() => qa.dispose());
      const bytes = fileBytes(checkpoint, dtype === 'int8' ? 'torch' : dtype);
      tell({ name, info: qa.info, loading, median: median(times!), samples: times!.length, bytes });
    } catch (error) {
      signal.throwIfAborted();
      tell({ name, error: (error as Error).message });
    }
  }
}

/** Milliseconds of each, in turns, until all are done. @throws the signal's reason */
async function sampled(runs: (() => Promise<unknown>)[], protocol: Protocol, signal: AbortSignal): Promise<number[][]> {
  const samplers = runs.map((run) => new Sampler(run, protocol, () => performance.now()));
  while (samplers.some(({ done }) => !done)) {
    for (const sampler of samplers) await sampler.turn(1);
    await new Promise((resolve) => setTimeout(resolve)); // so that `cancel` is heard
    signal.throwIfAborted();
  }
  return samplers.map(({ milliseconds }) => milliseconds);
}

const cpu = async () => (await openRuntime('cpu', { threads: 1 })).device;

/** Each linear of the model alone and all together, in float and in both int8 schemes; the page is told the share done. */
async function explainTexts({ model, texts }: { model: Model; texts: Texts }, { tell, signal }: Talk<number>) {
  const checkpoint = await openCheckpoint(filesOf(model));
  const onProgress = ({ done, total }: { done: number; total: number }) => {
    signal.throwIfAborted();
    tell(done / total);
  };
  return explain(checkpoint, texts, cpu, onProgress).finally(checkpoint.close);
}

/** One linear's input, for the microscope. */
async function slide({ model, texts, linear }: { model: Model; texts: Texts; linear: string }) {
  const checkpoint = await openCheckpoint(filesOf(model));
  return slideOf(checkpoint, texts, await cpu(), linear).finally(checkpoint.close);
}

const CALLS = { gpu, load: loadModel, answer, pace, measure, explain: explainTexts, slide };
export type Calls = typeof CALLS;

/** One call after the other; those that wait can be cancelled, too. */
let last: Promise<void> = Promise.resolve();
addEventListener('message', ({ data, ports }: MessageEvent<{ name: keyof Calls; input: never }>) => {
  const port = ports[0]!;
  const stop = new AbortController();
  port.onmessage = () => stop.abort();
  const { signal } = stop;
  const say = (said: Said) => port.postMessage(said);
  const call: (input: never, talk: Talk<unknown>) => Promise<unknown> = CALLS[data.name];
  const run = async () => {
    signal.throwIfAborted();
    say({ result: await call(data.input, { tell: (progress) => say({ progress }), signal }) });
  };
  last = last.then(run).catch((error: Error) => {
    const code = signal.aborted ? 'cancelled' : error instanceof BertletError ? error.code : 'unknown';
    say({ code, message: error.message });
  });
});

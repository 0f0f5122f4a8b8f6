/**
 * The program of the article (Lei Mao, "PyTorch Dynamic Quantization"), in TypeScript: model sizes, one question
 * answered by the float32 and by the dynamically quantized model, and the latency of both. `bertlet qa --help`
 */
import { cpus } from 'node:os';
import { styleText } from 'node:util';
import { QUESTION, TEXT } from '../bench/article.ts';
import { watchOthers } from '../bench/environment.ts';
import { median } from '../bench/measure.ts';
import { embeddingsOf, fileBytes, sizeLine } from '../bench/sizes.ts';
import { disturbedLine } from '../bench/text.ts';
import { type Answer, BertletError, type DeviceName, type Dtype, type Info, type Scheme } from '../src/index.ts';
import type { Checkpoint } from '../src/tensor.ts';
import { download } from './folder.ts';
import { type Io, printer } from './io.ts';
import { loadApart, loadHere, type Model, type Tokens, timeInTurns } from './models.ts';
import { type QuestionOptions, questionOf } from './options.ts';
import { showLoad, stepBar } from './progress.ts';

interface QaOptions extends QuestionOptions {
  model: string;
  device?: DeviceName | 'auto';
  threads?: number;
  dtype?: Dtype;
  scheme?: Scheme;
  revision?: string;
  topK?: number;
  threshold?: number;
  samples?: number;
  json?: boolean;
}
type Texts = Record<'question' | 'context', string>;

/** Runs `bertlet qa`. All is answered before anything is printed: what is wrong with a call is an error alone. */
export async function run(options: QaOptions, io: Io): Promise<void> {
  const asked = await questionOf(options, io);
  const { folder, checkpoint } = await download(options.model, io, options.revision);
  const [scheme, why] = schemeOf(options, checkpoint, asked);
  const load = loader(folder, scheme, options, io);
  const only = options.dtype ?? (checkpoint.scheme ? 'int8' : undefined);
  const print = printer(io.stdout);
  const say = options.json ? () => {} : print;
  const models: Model[] = [];
  try {
    for (const dtype of only ? [only] : (['fp32', 'int8'] as const)) {
      models.push(await load(options.device ?? 'cpu', dtype));
    }
    const [{ info }] = models as [Model];
    const answers: Answers = {};
    for (const model of models) answers[model.info.dtype] = await answered(model, asked, options, checkpoint);

    const bold = (text: string) => styleText('bold', text, { stream: io.stdout }); // on a terminal, without NO_COLOR
    const section = (title: string) => say(`${'='.repeat(75)}\n${bold(title)}\n${'='.repeat(75)}`);
    section('Model Sizes');
    const sizes = { fp32: fileBytes(checkpoint, 'fp32'), int8: fileBytes(checkpoint, scheme) };
    for (const dtype of ['fp32', 'int8'] as const) say(sizeLine(dtype, sizes[dtype], embeddingsOf(checkpoint)));

    section('BERT QA Example');
    say(`Text: \n${asked.context}\nQuestion: \n${asked.question}`);
    if (only === undefined || only === 'int8') say(`int8: ${scheme}, ${why}`);
    for (const [dtype, each] of Object.entries(answers)) say(textOf(dtype as Dtype, each, bold));

    const latencies: Record<string, Latency> = {};
    if (options.samples !== 0) {
      section('BERT QA Inference Latencies');
      const time = timer(inputOf(checkpoint, asked), latencies, options, say, io);
      await time(models);
      for (const model of models.splice(0)) await model.dispose();
      if (!options.device) await timeGpu(only ? [only] : ['fp32', 'fp16', 'int8'], load, time, say);
    }
    if (options.json) print(JSON.stringify({ info, ...asked, sizes, answers, latencies }, null, 2));
  } finally {
    for (const model of models) await model.dispose();
  }
}

/** The scheme of int8, and why. The article's question repeats what PyTorch does; every other has the library's default. */
function schemeOf({ scheme }: QaOptions, { scheme: stored }: Checkpoint, asked: Texts): [Scheme, string] {
  if (scheme) return [scheme, 'by --scheme'];
  if (stored) return [stored, 'as the checkpoint has it'];
  const isArticle = asked.question === QUESTION && asked.context === TEXT;
  return isArticle ? ['torch', "as PyTorch computes the article's question"] : ['accurate', "the library's default"];
}

type Load = (device: DeviceName | 'auto', dtype: Dtype) => Promise<Model>;

/** Makes the function that loads a model of this call. */
function loader(folder: string, scheme: Scheme, { threads, revision, ...options }: QaOptions, io: Io): Load {
  return (device, dtype) => {
    const given = { device, dtype, ...(dtype === 'int8' && { scheme }), threads, revision };
    const here = device === 'cpu' || device === 'reference';
    if (here) return showLoad(io, (onProgress) => loadHere(folder, { ...given, onProgress }));
    // Where the GPU was not asked for, it is no failure that there is none.
    return loadApart(folder, given, (said) => void (options.device && said && io.stderr.write(`${said}\n`)));
  };
}

interface Answered extends Answer {
  /** The article's form of the answer: its word pieces, joined. */
  tokens: string | null;
  /** The next best, if they were asked for. */
  others?: Answer[] | undefined;
}
type Answers = Partial<Record<Dtype, Answered>>;

async function answered(
  model: Model,
  asked: Texts,
  { topK, threshold: nullThreshold }: QaOptions,
  { tokenizer }: Checkpoint,
): Promise<Answered> {
  const [best, ...others] = await model.answer({ ...asked, topK, nullThreshold });
  const tokens = best.noAnswer ? null : tokenizer.encode(best.text).tokens.join(' ');
  return { tokens, ...best, others: others.length > 0 ? others : undefined };
}

const KINDS: Record<Dtype, string> = { fp32: '', fp16: 'FP16 ', int8: 'Dynamic Quantized ' };

function textOf(dtype: Dtype, best: Answered, bold: (text: string) => string): string {
  const lines = [best, ...(best.others ?? [])].map(({ text, start, end, score, noAnswer }) =>
    noAnswer
      ? `  = no answer, score ${score.toFixed(3)}: the text does not say`
      : `  = text.slice(${start}, ${end}), score ${score.toFixed(3)}: ${bold(JSON.stringify(text))}`,
  );
  return [`${KINDS[dtype]}Model Answer: `, best.tokens ?? bold('no answer'), ...lines].join('\n');
}

/** The input that is timed: question and passage, or as much as the model has positions for. */
function inputOf({ tokenizer, config }: Checkpoint, { question, context }: Texts): Tokens {
  const { ids, typeIds } = tokenizer.encodePair(question, context);
  return { inputIds: ids.slice(0, config.positions), tokenTypeIds: typeIds.slice(0, config.positions) };
}

interface Latency {
  mean: number;
  median: number;
  warmups: number;
  milliseconds: readonly number[];
}

/** The article's counts; a device that would need longer than 10 seconds for them does as many as it can. */
const [WARMUPS, SAMPLES, SECONDS] = [10, 100, 10];

const latencyLabel = ({ device, dtype }: Pick<Info, 'device' | 'dtype'>): string =>
  `${KINDS[dtype]}${device === 'webgpu' ? 'WebGPU' : 'CPU'} Inference Latency`;
/** The device and what it runs with. */
const described = ({ device, threads, adapter, kernels }: Info): string =>
  [device, threads && `${threads} ${threads === 1 ? 'thread' : 'threads'}`, adapter, kernels]
    .filter(Boolean)
    .join(', ');

/** Makes the function that times models of one device in turns, and tells it. */
function timer(
  input: Tokens,
  latencies: Record<string, Latency>,
  { samples = SAMPLES }: QaOptions,
  say: (text: string) => void,
  io: Io,
) {
  return async (models: readonly Model[]): Promise<void> => {
    const { info } = models.at(-1)!; // int8's, if there is one: it names the kernels of both
    say(`${described(info)}; ${input.inputIds.length} tokens`);
    if (info.reason) say(info.reason);
    const { onProgress, stop } = stepBar(io);
    const others = watchOthers();
    const protocol = { warmups: WARMUPS, samples, seconds: SECONDS };
    const step = (done: number, total: number) => onProgress('forwards', done, total);
    const times = await timeInTurns(models, input, protocol, step).finally(stop);
    const disturbed = info.device === 'webgpu' ? undefined : disturbedLine(others(), cpus().length);
    for (const [i, { warmups, milliseconds }] of times.entries()) {
      const { info } = models[i]!;
      const mean = milliseconds.reduce((sum, ms) => sum + ms, 0) / milliseconds.length;
      const latency = { mean, median: median(milliseconds), warmups, milliseconds };
      latencies[`${info.device} ${info.dtype}`] = latency;
      const counts = `median ${latency.median.toFixed(2)}, ${warmups} warm-ups, ${milliseconds.length} samples`;
      say(`${latencyLabel(info)}: ${mean.toFixed(2)} ms / sample  (${counts})`);
    }
    if (disturbed) say(disturbed);
  };
}

/** Times the GPU where there is one; otherwise says why not, as the article's line would stand. */
async function timeGpu(
  dtypes: readonly Dtype[],
  load: Load,
  time: ReturnType<typeof timer>,
  say: (text: string) => void,
): Promise<void> {
  const models: Model[] = [];
  try {
    for (const dtype of dtypes) {
      // `auto` does not take an adapter that computes on the CPU, which would need minutes.
      const model = await load(models.length === 0 ? 'auto' : 'webgpu', dtype);
      models.push(model);
      if (model.info.device === 'cpu') throw new BertletError('device', model.info.reason!);
    }
    await time(models);
  } catch (error) {
    if (!(error instanceof BertletError && error.code === 'device')) throw error;
    say(`WebGPU Inference Latency: not measured, ${whyNot(error.message)}`);
  } finally {
    for (const model of models) await model.dispose();
  }
}

/** The reason why there is no GPU, from the error of the device. */
export function whyNot(message: string): string {
  const [, what, got, advice] = /webgpu: expected (?:an? |the )?(.+?), got (.+?)\. ([^.;]*)/.exec(message) ?? [];
  if (!what) return message;
  if (got!.endsWith('slower than `cpu`')) return `${got!.split(',')[0]} computes on the CPU: see --device webgpu`;
  const reason = got!.startsWith('none') ? `no ${what}${got!.slice(4)}: ${advice}` : `expected ${what}, got ${got}`;
  return reason.replaceAll('`', '');
}

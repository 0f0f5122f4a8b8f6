/**
 * The program of the article (Lei Mao, "PyTorch Dynamic Quantization"), in TypeScript: model sizes, one question
 * answered by the float32 and by the dynamically quantized model, and the latency of both. `bertlet qa --help`
 */
import { performance } from 'node:perf_hooks';
import { styleText } from 'node:util';
import { median, Sampler } from '../bench/measure.ts';
import {
  BertletError,
  type DeviceName,
  type Dtype,
  type Info,
  load,
  type QuestionAnswering,
  type Scheme,
} from '../src/index.ts';
import { checkpointBytes, locate, openCheckpoint } from '../src/tensor.ts';
import { type Io, printer } from './io.ts';
import { type QuestionOptions, questionOf } from './options.ts';
import { progressBars } from './progress.ts';

const ANSWERS: Record<Dtype, string> = {
  fp32: 'Model Answer',
  fp16: 'FP16 Model Answer',
  int8: 'Dynamic Quantized Model Answer',
};
const latencyLabel = ({ device, dtype }: Info): string => {
  const kind = { fp32: '', fp16: 'FP16 ', int8: 'Dynamic Quantized ' }[dtype];
  return `${kind}${device === 'webgpu' ? 'GPU' : 'CPU'} Inference Latency`;
};

/** The article's form of an answer: the tokens from the best start to the best end of the whole input, joined. */
async function joinedTokens(qa: QuestionAnswering, question: string, context: string): Promise<string> {
  const { ids, typeIds, tokens } = qa.tokenizer.encodePair(question, context);
  const { start, end } = await qa.logits({ inputIds: ids, tokenTypeIds: typeIds });
  const argmax = (logits: Float32Array) => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
  return tokens.slice(argmax(start), argmax(end) + 1).join(' ');
}

type Tokens = Parameters<QuestionAnswering['logits']>[0];

interface Latency {
  mean: number;
  median: number;
  warmups: number;
  milliseconds: number[];
}

/** The article's counts; a device that would need longer than 10 seconds for them does as many as it can. */
const [WARMUPS, SAMPLES, SECONDS] = [10, 100, 10];

/** What is timed: question and passage, or as much as the model has positions for. */
function inputOf({ tokenizer, config }: QuestionAnswering, question: string, context: string): Tokens {
  const { ids, typeIds } = tokenizer.encodePair(question, context);
  return { inputIds: ids.slice(0, config.positions), tokenTypeIds: typeIds.slice(0, config.positions) };
}

/** Time of one forward of the tokenized input to its logits, after some that are not counted. */
async function latency(qa: QuestionAnswering, input: Tokens, samples = SAMPLES): Promise<Latency> {
  const forward = () => qa.logits(input);
  const sampler = new Sampler(forward, { warmups: WARMUPS, samples, seconds: SECONDS }, () => performance.now());
  while (!sampler.done) {
    await sampler.turn(1);
    await new Promise(setImmediate); // the reference never waits, and would let no signal through
  }
  const { warmups, milliseconds } = sampler;
  const mean = milliseconds.reduce((sum, ms) => sum + ms, 0) / milliseconds.length;
  return { mean, median: median(milliseconds), warmups, milliseconds };
}

/** The device and what it runs with. */
const described = ({ device, threads, adapter, kernels }: Info): string =>
  [device, threads && `${threads} threads`, adapter, kernels].filter(Boolean).join(', ');

interface QaOptions extends QuestionOptions {
  model: string;
  device?: DeviceName;
  threads?: number;
  dtype?: Dtype;
  scheme?: Scheme;
  revision?: string;
  topK?: number;
  threshold?: number;
  samples?: number;
  json?: boolean;
}

/** Runs `bertlet qa`. */
export async function run(options: QaOptions, io: Io): Promise<void> {
  const { question, context } = await questionOf(options, io);
  const print = printer(io.stdout);
  const say = options.json ? () => {} : print;
  const bold = (text: string) => styleText('bold', text, { stream: io.stdout }); // on a terminal, without NO_COLOR
  const section = (title: string) => say(`${'='.repeat(75)}\n${bold(title)}\n${'='.repeat(75)}`);

  const { threads } = options;
  const bars = progressBars(io);
  const folder = await locate(options.model, { ...bars, revision: options.revision }).finally(bars.stop);
  const { config, scheme: stored, close } = await openCheckpoint(folder);
  close();
  // The article's scheme, unless the checkpoint is in int8: that one is what it is.
  const scheme = options.scheme ?? stored ?? 'torch';
  const open = async (device: DeviceName, dtype: Dtype) => {
    const { onProgress, stop } = progressBars(io);
    const given = { ...(dtype === 'int8' && { scheme }), threads, revision: options.revision };
    return load(folder, { device, dtype, onProgress, ...given }).finally(stop);
  };
  const only = options.dtype ?? (stored && 'int8');
  const dtypes: Dtype[] = only ? [only] : ['fp32', 'int8'];
  const models: [Dtype, QuestionAnswering][] = [];
  for (const dtype of dtypes) models.push([dtype, await open(options.device ?? 'cpu', dtype)]);

  section('Model Sizes');
  const { info } = models[0]![1];
  const sizes = { fp32: checkpointBytes(config, 'fp32'), int8: checkpointBytes(config, scheme) };
  say(`FP32 Model Size: ${(sizes.fp32 / 2 ** 20).toFixed(2)} MB`);
  say(`INT8 Model Size: ${(sizes.int8 / 2 ** 20).toFixed(2)} MB`);

  section('BERT QA Example');
  say(`Text: \n${context}\nQuestion: \n${question}`);
  const answers: Record<string, unknown> = {};
  for (const [dtype, qa] of models) {
    const [best, ...others] = await qa.answer({
      question,
      context,
      topK: options.topK,
      nullThreshold: options.threshold,
    });
    const tokens = await joinedTokens(qa, question, context).catch(() => null); // a passage of several windows has none
    answers[dtype] = { tokens, ...best, ...(others.length > 0 && { others }) };
    say(`${ANSWERS[dtype]}: `);
    if (tokens !== null) say(tokens);
    for (const { text, start, end, score, noAnswer } of [best, ...others]) {
      say(
        noAnswer
          ? `  (no answer in the text, score ${score.toFixed(3)})`
          : `  = text.slice(${start}, ${end}), score ${score.toFixed(3)}: ${bold(JSON.stringify(text))}`,
      );
    }
  }

  const timing = options.samples !== 0;
  if (timing) section('BERT QA Inference Latencies');
  const input = inputOf(models[0]![1], question, context);
  const latencies: Record<string, Latency> = {};
  const time = async (qa: QuestionAnswering, first: boolean) => {
    if (first) say(`${described(qa.info)}; ${input.inputIds.length} tokens`);
    if (first && qa.info.reason) say(qa.info.reason);
    const result = await latency(qa, input, options.samples);
    latencies[`${qa.info.device} ${qa.info.dtype}`] = result;
    const { mean, median, warmups, milliseconds } = result;
    const counts = `median ${median.toFixed(2)}, ${warmups} warm-ups, ${milliseconds.length} samples`;
    say(`${latencyLabel(qa.info)}: ${mean.toFixed(2)} ms / sample  (${counts})`);
    await qa.dispose();
  };
  for (const [dtype, qa] of models) await (timing ? time(qa, dtype === dtypes[0]) : qa.dispose());
  const gpuDtypes: Dtype[] = only ? [only] : ['fp32', 'fp16', 'int8'];
  try {
    for (const dtype of options.device || !timing ? [] : gpuDtypes)
      await time(await open('webgpu', dtype), dtype === gpuDtypes[0]);
  } catch (error) {
    if (!(error instanceof BertletError && error.code === 'device')) throw error;
    say(error.message);
  }
  if (options.json) print(JSON.stringify({ info, question, context, sizes, answers, latencies }, null, 2));
}

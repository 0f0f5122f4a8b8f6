/**
 * `npm run docs`: writes into docs/quantization.md what is this code's own, its lines, the worked examples, the figures of
 * `bertlet explain` and of outlier weights (outliers.ts), and the pictures of docs/ (pictures.ts); into docs/results.md,
 * docs/scale.md and README the results (results.ts), into docs/engine.md the table of ops and the ladder, and into README the
 * families of models. test/docs.test.ts says where they are not today's.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { QUESTION, TEXT } from '../bench/article.ts';
import { inColumns } from '../bench/columns.ts';
import { uniform } from '../kernels/op.ts';
import { compare, type Explanation, explain, worst } from '../programs/explain/explain.ts';
import { compareTraces, flipText, readTrace, traceOf } from '../programs/explain/flip.ts';
import { slideOf } from '../programs/explain/microscope.ts';
import { explainText } from '../programs/explain/text.ts';
import { FAMILIES } from '../src/checkpoint/config.ts';
import { type Checkpoint, openCheckpoint } from '../src/checkpoint/index.ts';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { chooseScale, matmulInt8, quantizeActivations, quantizeWeight, roundHalfEven } from '../src/quantize.ts';
import { type Device, type HostTensor, type LinearWeight, Runtime, type Scheme } from '../src/runtime.ts';
import { type Outliers, outliersOf, outliersText } from './outliers.ts';
import { pictures } from './pictures.ts';
import { withResults } from './results.ts';

const ROOT = join(import.meta.dirname, '..');
const CHECKPOINT = join(ROOT, 'weights/minilm-l6-qa');

/** A function of a file, without its comment. */
export function functionText(file: string, name: string): string {
  const [text] =
    new RegExp(`^(export )?function ${name}\\b[^]*?^}`, 'm').exec(readFileSync(join(ROOT, file), 'utf8')) ?? [];
  if (!text) throw new Error(`${file}: expected a function ${name}, got none.`);
  return text;
}

const matrix = (shape: [number, number], values: number[]): HostTensor<Float32Array> => ({
  dtype: 'F32',
  shape,
  data: Float32Array.from(values),
});
interface Layer {
  x: HostTensor<Float32Array>;
  weight: HostTensor<Float32Array>;
  bias: HostTensor<Float32Array>;
}
/** Two tokens of three features, the second with an outlier, and two output features of different size. */
const OUTLIER_IN_X: Layer = {
  x: matrix([2, 3], [0.5, -0.25, 1, 0.2, -12, 0.1]),
  weight: matrix([2, 3], [0.5, -0.3, 0.8, 0.02, 0.05, -0.04]),
  bias: matrix([1, 2], [0.1, -0.2]),
};
/** One weight is a hundred times as large as the others. */
const OUTLIER_IN_WEIGHT: Layer = {
  x: matrix([2, 3], [0.5, -0.25, 1, 0.2, -0.75, 0.1]),
  weight: matrix([2, 3], [0.05, -0.03, 8, 0.02, 0.05, -0.04]),
  bias: matrix([1, 2], [0.1, -0.2]),
};

/** The fewest digits that are this float32 and no other. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return rounded;
  }
  return Number(value.toPrecision(9));
}
const numbers = (data: ArrayLike<number>) => `[${Array.from(data, shortest).join(', ')}]`;
const rows = (data: ArrayLike<number>, columns: number) =>
  `[${Array.from({ length: data.length / columns }, (_, i) => numbers(Array.from(data).slice(i * columns, (i + 1) * columns))).join(', ')}]`;

/** Every number between `x` and `y`. */
async function steps(scheme: Scheme, layer: Layer, want: Float32Array): Promise<string> {
  const [xq, wq] = [quantizeActivations(layer.x, scheme), quantizeWeight(layer.weight, scheme)];
  const dots = matmulInt8({ ...xq, zeroPoint: new Int32Array(2) }, wq);
  const y = await linear(layer, wq);
  return `${scheme}
scale      = ${numbers(xq.scale)}
zeroPoint  = ${numbers(xq.zeroPoint)}
xq         = ${rows(xq.data, 3)}
wScale     = ${numbers(wq.scale)}
wq         = ${rows(wq.data, 3)}
xq wq^T    = ${rows(dots, 2)}
sums of wq = ${numbers([0, 3].map((at) => wq.data.slice(at, at + 3).reduce((sum, value) => sum + value, 0)))}
acc        = ${rows(matmulInt8(xq, wq), 2)}
y          = ${rows(y, 2)}
SQNR       = ${compare(want, y).sqnr!.toFixed(1)} dB
 of tokens = ${[0, 1].map((token) => decibels(want, y, (i) => i >> 1 === token)).join(', ')} dB
 of output features = ${[0, 1].map((feature) => decibels(want, y, (i) => i % 2 === feature)).join(', ')} dB`;
}

/** SQNR of some of the results. */
const decibels = (want: Float32Array, y: Float32Array, which: (i: number) => boolean): string =>
  compare(
    want.filter((_, i) => which(i)),
    y.filter((_, i) => which(i)),
  ).sqnr!.toFixed(1);

/** The layer with this weight instead of its own. */
function linear({ x, bias }: Layer, weight: LinearWeight): Promise<Float32Array> {
  const runtime = new Runtime(new ReferenceDevice());
  return runtime.read(runtime.linear(runtime.tensor(x), runtime.linearLayer(weight, bias)));
}

async function example(layer: Layer): Promise<string> {
  const y = await linear(layer, layer.weight);
  return `x          = ${rows(layer.x.data, 3)}
weight     = ${rows(layer.weight.data, 3)}
bias       = ${numbers(layer.bias.data)}
y, float32 = ${rows(y, 2)}

${await steps('torch', layer, y)}

${await steps('accurate', layer, y)}`;
}

/** Outliers of both editions of the embedded checkpoint: the first's figures are in a file, for git's history alone has its weights. */
async function outliers(): Promise<string> {
  const first = JSON.parse(readFileSync(join(ROOT, 'bench/results/outliers-first-edition.json'), 'utf8')) as Outliers[];
  return `first edition\n${outliersText(first)}\n\nsecond edition\n${outliersText(await outliersOf(CHECKPOINT))}`;
}

let explanation: Promise<Explanation> | undefined;
/** Explanation of the article's question by `bertlet explain`; the reference device computes it: the same digits on every machine. */
export function articleExplained(): Promise<Explanation> {
  explanation ??= withCheckpoint((checkpoint) => explain(checkpoint, ARTICLE, async () => new ReferenceDevice()));
  return explanation;
}
/** The pictures of it. */
export async function articlePictures(): Promise<Record<string, string>> {
  const explained = await articleExplained();
  const { names } = worst(explained.linears, 'torch');
  const slide = await withCheckpoint((checkpoint) => slideOf(checkpoint, ARTICLE, new ReferenceDevice(), names[0]!));
  return pictures(explained, slide);
}
const ARTICLE = { question: QUESTION, context: TEXT };

async function withCheckpoint<R>(use: (checkpoint: Checkpoint) => Promise<R>): Promise<R> {
  const checkpoint = await openCheckpoint(CHECKPOINT);
  return use(checkpoint).finally(checkpoint.close);
}

/** `bertlet explain --flip`: PyTorch's trace beside the reference device, and beside the CPU's kernels. */
function flips(): Promise<[reference: string, cpu: string]> {
  const file = readFileSync(join(ROOT, 'test/golden/article-trace.safetensors.gz'));
  const pytorch = readTrace(readSafetensors(gunzipSync(file), 'article-trace'));
  return withCheckpoint(async (checkpoint) => {
    const beside = async (name: string, device: Device) => {
      const flip = compareTraces(checkpoint, ARTICLE, pytorch, await traceOf(checkpoint, ARTICLE, device));
      return flipText(flip, ['PyTorch', name]);
    };
    const cpu = (await startCpu({ threads: 1 })).device;
    return [await beside('reference', new ReferenceDevice()), await beside('cpu', cpu)];
  });
}

/** Scale and zero point of some ranges, the integers of their ends, and how often PyTorch's choice between the ends matters. */
function ranges(): string {
  const some = [
    [-1, 3],
    [0, 4],
    [-1, 1],
    [-0.17, 25.5],
    [-3, -1],
  ] as const;
  const rows = some.map(([low, high]) => {
    const { scale, zeroPoint } = chooseScale(low, high);
    const ends = quantizeActivations(matrix([1, 3], [low, 0, high]), 'torch').data;
    return [`[${low}, ${high}]`, scale.toPrecision(6), String(zeroPoint), ...Array.from(ends, String)];
  });
  const head = ['range', 'scale', 'zero point', 'low', '0', 'high'];
  const next = uniform(1);
  let other = 0;
  for (let i = 0; i < RANGES; i++) {
    const [low, high] = [-Math.fround(10 * next()), Math.fround(30 * next())];
    const scale = (high - low) / 127;
    if (chooseScale(low, high).zeroPoint !== roundHalfEven(Math.min(127, -low / scale))) other++;
  }
  return `${inColumns([head, ...rows])}\n\nof ${RANGES.toLocaleString('en')} ranges from [-10, 0] to [0, 30] at random, ${other} have another zero point than round(-low / scale)`;
}
const RANGES = 2_000_000;

/** README with its examples as the files are today. */
export const withExamples = (readme: string): string =>
  readme.replace(/<!-- example (\S+) -->\n.*?<!-- \/example -->/gs, (_, file: string) => {
    const code = readFileSync(join(ROOT, file), 'utf8').trimEnd();
    return `<!-- example ${file} -->\n\`\`\`ts\n${code}\n\`\`\`\n<!-- /example -->`;
  });

/** Well-known models of the Hub, by family. */
const MODELS: Record<keyof typeof FAMILIES, string[]> = {
  bert: [
    'deepset/bert-base-cased-squad2',
    'google-bert/bert-large-uncased-whole-word-masking-finetuned-squad',
    'google-bert/bert-large-cased-whole-word-masking-finetuned-squad',
  ],
  distilbert: [
    'distilbert/distilbert-base-cased-distilled-squad',
    'distilbert/distilbert-base-uncased-distilled-squad',
  ],
  electra: ['deepset/electra-base-squad2'],
  roberta: ['deepset/roberta-base-squad2', 'deepset/tinyroberta-squad2'],
};

/** README with its table of families as the code has them. */
export const withFamilies = (readme: string): string => {
  const rows = Object.entries(FAMILIES).map(([name, { tokenizer }]) => {
    const links = MODELS[name as keyof typeof FAMILIES].map((model) => `[${model}](https://huggingface.co/${model})`);
    return `| \`${name}\` | \`${tokenizer}\` | ${links.join(', ')} |`;
  });
  const table = ['| `model_type` | tokenizer, where no file names another | models |', '|---|---|---|', ...rows].join(
    '\n',
  );
  return readme.replace(
    /<!-- families -->\n.*?<!-- \/families -->/s,
    `<!-- families -->\n${table}\n<!-- /families -->`,
  );
};

/** The document with its blocks as they are today. */
export async function updated(document: string): Promise<string> {
  const [flip, flipCpu] = await flips();
  const blocks: Record<string, string> = {
    example: await example(OUTLIER_IN_X),
    'example-weight': await example(OUTLIER_IN_WEIGHT),
    explain: explainText(await articleExplained(), 'reference'),
    ranges: ranges(),
    flip,
    'flip-cpu': [...flipCpu.split('\n').slice(0, 6), '...', ...flipCpu.split('\n').slice(-4)].join('\n'),
    outliers: await outliers(),
  };
  return document.replace(
    /<!-- (\S+)(?: (\S+))? -->\n```(\w*)\n.*?```/gs,
    (_, what: string, name: string, language: string) => {
      const content = name ? functionText(what, name) : blocks[what]!;
      return `<!-- ${name ? `${what} ${name}` : what} -->\n\`\`\`${language}\n${content}\n\`\`\``;
    },
  );
}

export const DOCUMENT = join(ROOT, 'docs/quantization.md');

export const WITH_RESULTS = ['docs/results.md', 'docs/scale.md', 'docs/engine.md', 'README.md'].map((name) =>
  join(ROOT, name),
);

if (import.meta.main) {
  writeFileSync(DOCUMENT, await updated(readFileSync(DOCUMENT, 'utf8')));
  for (const [name, svg] of Object.entries(await articlePictures())) writeFileSync(join(ROOT, 'docs', name), svg);
  for (const path of WITH_RESULTS)
    writeFileSync(path, withFamilies(withExamples(withResults(readFileSync(path, 'utf8')))));
}

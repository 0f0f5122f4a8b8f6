/**
 * Converts a checkpoint, a folder's or the Hub's, to a folder of safetensors in another precision.
 * `npm run convert -- deepset/bert-base-cased-squad2 --out weights/bert-base-cased-squad2`
 */

import { readFile } from 'node:fs/promises';
import { convert, type Dtype, type Scheme } from '../src/index.ts';
import { checkpointBytes, locate, parseConfig } from '../src/tensor.ts';
import { type Io, printer } from './io.ts';
import { progressBars } from './progress.ts';

interface ConvertOptions {
  out: string;
  dtype: Dtype;
  scheme?: Scheme;
  embeddings?: 'float' | 'int8';
  revision?: string;
  json?: boolean;
}

/** Runs `bertlet convert`. */
export async function run(model: string, options: ConvertOptions, io: Io): Promise<void> {
  const { out, dtype, scheme, embeddings, revision, json } = options;
  const print = printer(io.stdout);
  const { onProgress, stop } = progressBars(io);
  const write = async () => {
    const folder = await locate(model, { revision, onProgress });
    const precision = dtype === 'int8' ? (scheme ?? dtype) : dtype;
    const int8Embeddings = embeddings === undefined ? undefined : embeddings === 'int8';
    const how = { precision, int8Embeddings, source: model, onProgress };
    return convert(folder, out, how);
  };
  const manifest = await write().finally(stop);
  if (json) return print(JSON.stringify(manifest, null, 2));
  const { files } = manifest;
  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MB`;
  const config = parseConfig(JSON.parse(await readFile(`${out}/config.json`, 'utf8')));
  print(`FP32 Model Size: ${megabytes(checkpointBytes(config, 'fp32'))}`);
  print(`${dtype.toUpperCase()} Model Size: ${megabytes(files['model.safetensors']!.bytes)}`);
  for (const [name, { bytes, sha256 }] of Object.entries(files)) {
    print(`${out}/${name}  ${bytes} bytes  sha256 ${sha256}`);
  }
}

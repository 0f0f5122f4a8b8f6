/**
 * Converts a checkpoint, a folder's or the Hub's, to a folder of safetensors in another precision.
 * `npm run convert -- deepset/bert-base-cased-squad2 --out weights/bert-base-cased-squad2`
 */

import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { parseConfig } from '../src/checkpoint/config.ts';
import { checkpointBytes } from '../src/checkpoint/layout.ts';
import { locate } from '../src/hub.ts';
import { convert, type Dtype, type Scheme } from '../src/index.ts';
import { progressBars } from './progress.ts';

interface ConvertOptions {
  out: string;
  dtype: Dtype;
  scheme: Scheme;
  embeddings: 'float' | 'int8';
  revision: string;
  json?: boolean;
}

async function run(model: string, { out, dtype, scheme, embeddings, revision, json }: ConvertOptions): Promise<void> {
  const { onProgress, stop } = progressBars();
  const write = async () => {
    const folder = await locate(model, { revision, onProgress });
    const config = parseConfig(JSON.parse(await readFile(`${folder}/config.json`, 'utf8')));
    const precision = dtype === 'int8' ? scheme : dtype;
    const options = { precision, int8Embeddings: embeddings === 'int8', source: model, onProgress };
    return { config, ...(await convert(folder, out, options)) };
  };
  const { config, ...manifest } = await write().finally(stop);
  if (json) return console.log(JSON.stringify(manifest, null, 2));
  const { files } = manifest;
  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MB`;
  console.log(`FP32 Model Size: ${megabytes(checkpointBytes(config, 'fp32'))}`);
  console.log(`${dtype.toUpperCase()} Model Size: ${megabytes(files['model.safetensors']!.bytes)}`);
  for (const [name, { bytes, sha256 }] of Object.entries(files)) {
    console.log(`${out}/${name}  ${bytes} bytes  sha256 ${sha256}`);
  }
}

/** Adds `bertlet convert`. */
export function addConvert(program: Command): void {
  program
    .command('convert')
    .description('Writes a BERT question answering checkpoint in another precision.')
    .argument('<model>', 'folder of the checkpoint, or owner/name on the Hugging Face Hub')
    .requiredOption('--out <dir>', 'the folder to make')
    .addOption(
      new Option('--dtype <type>', "of the linears' weights").choices(['int8', 'fp16', 'fp32']).default('int8'),
    )
    .addOption(
      new Option('--scheme <name>', "int8: PyTorch's scales per tensor, or one per output feature")
        .choices(['torch', 'accurate'])
        .default('torch'),
    )
    .addOption(
      new Option('--embeddings <type>', 'int8: the word embeddings in int8 as well, a scale for each row')
        .choices(['float', 'int8'])
        .default('float'),
    )
    .option('--revision <name>', 'Hub: branch, tag or commit', 'main')
    .option('--json', 'print the manifest instead: each file with its size and SHA-256')
    .addHelpText(
      'after',
      `
Examples:
  $ bertlet convert deepset/bert-base-cased-squad2 --out bert-base-cased-squad2-int8
  $ bertlet convert ./checkpoint --out ./checkpoint-fp16 --dtype fp16`,
    )
    .action(run);
}

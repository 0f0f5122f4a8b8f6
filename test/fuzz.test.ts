/**
 * Damaged files: each is opened, and asked a question. Whatever is in a file, what is thrown is a BertletError with a short
 * message, soon. `BERTLET_FUZZ=full npx vitest run test/fuzz.test.ts` damages 100,000 safetensors and 20,000 of each other
 * file, in some minutes; `BERTLET_FUZZ=<seed>` begins elsewhere.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { uniform } from '../kernels/op.ts';
import { BertletError, load } from '../src/index.ts';
import { GOLDEN, goldenJson } from './support.ts';

const { BERTLET_FUZZ = '1' } = process.env;
const FULL = BERTLET_FUZZ === 'full';
const next = uniform(Number(BERTLET_FUZZ) || 1);
const below = (n: number) => Math.floor(next() * n);
const pick = <T>(items: readonly T[]): T => items[below(items.length)]!;

const NUMBERS = [
  0,
  1,
  2,
  3,
  127,
  128,
  255,
  256,
  65535,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 53 - 1,
  2 ** 53,
  1e9,
  1e308,
];
const DEEP = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
const VALUES = [
  ...NUMBERS,
  ...[
    -1,
    0.5,
    -0,
    null,
    true,
    false,
    [],
    {},
    '',
    ' ',
    '\0',
    '\u001b[2J',
    '\ud800',
    'x'.repeat(1e5),
    '__proto__',
    'constructor',
  ],
  ...[
    'F64',
    'BOOL',
    'I8',
    'F16',
    'BF16',
    'U64',
    '[UNK]',
    '##',
    'a',
    '@deep@',
    [1, [2]],
    { type: 'WordPiece' },
    Array(1000).fill(0),
  ],
];

/** Changes, removes, copies or moves a part of a JSON value, or of several. */
function damageJson(value: unknown): string {
  const root = { value: structuredClone(value) };
  for (let count = pick([1, 1, 2, 3]); count > 0; count--) {
    const places: [Record<string, unknown>, string][] = [];
    const walk = (node: unknown, depth: number) => {
      if (typeof node !== 'object' || node === null || depth > 8) return;
      for (const key of Object.keys(node)) {
        places.push([node as Record<string, unknown>, key]);
        walk((node as Record<string, unknown>)[key], depth + 1);
      }
    };
    walk(root, 0);
    if (places.length === 0) break;
    const [node, key] = pick(places);
    const [other, from] = pick(places);
    const how = below(5);
    if (how === 0) delete node[key];
    else if (how === 1) node[key] = structuredClone(other[from]);
    else if (how === 2 && Array.isArray(node)) node.push(structuredClone(pick(VALUES)));
    else if (how === 2) node[String(pick(VALUES)).slice(0, 20)] = node[key];
    else if (how === 3 && typeof node[key] === 'number') node[key] = (node[key] as number) + pick([-1, 1, 4, 8, 1e6]);
    else node[key] = structuredClone(pick(VALUES));
  }
  return (JSON.stringify(root.value) ?? '').replace('"@deep@"', DEEP);
}

/** Changes, removes, copies or inserts some bytes, in `[begin, end)`. */
function damageBytes(whole: Uint8Array, begin = 0, end = whole.length): Uint8Array {
  let bytes = Buffer.from(whole);
  for (let count = 1 + below(4); count > 0; count--) {
    const at = Math.min(begin + below(end - begin), bytes.length - 1);
    const length = Math.min(1 + below(pick([1, 4, 16, 64])), bytes.length - at);
    const how = below(6);
    if (how === 0) bytes[at]! ^= 1 << below(8);
    else if (how === 1)
      bytes[at] = pick([0, 1, 127, 128, 255, 0x28, 0x2e, 0x51, 0x52, 0x58, 0x68, 0x74, 0x7d, 0x86, below(256)]);
    else if (how === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    else if (how === 3) bytes.copyWithin(at, begin + below(end - begin), begin + below(end - begin));
    else if (how === 4)
      bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
    else if (at + 4 <= bytes.length) bytes.writeUInt32LE(pick(NUMBERS) % 2 ** 32, at);
    if (bytes.length === 0) bytes = Buffer.alloc(1);
  }
  return next() < 0.02 ? bytes.subarray(0, below(bytes.length)) : bytes;
}

/** A safetensors file with a damaged header that has its right length, or with damaged bytes. */
function damageSafetensors(whole: Uint8Array): Uint8Array {
  const length = 8 + Number(Buffer.from(whole).readBigUInt64LE());
  if (below(3) === 0) return damageBytes(whole, 0, below(2) ? length : whole.length);
  const header = Buffer.from(damageJson(JSON.parse(Buffer.from(whole.subarray(8, length)).toString())));
  const first = Buffer.alloc(8);
  first.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([first, header, whole.subarray(length)]);
}

/** A pickle that is damaged inside its archive, or an archive that is. */
function damagePickle(whole: Uint8Array): Uint8Array {
  const text = Buffer.from(whole);
  const begin = text.indexOf('data.pkl') + 'data.pkl'.length;
  const end = text.indexOf('PK\u0003\u0004', begin);
  const how = below(4);
  if (how === 0) return damageBytes(whole, text.indexOf('PK\u0001\u0002'));
  return how === 1 ? damageBytes(whole) : damageBytes(whole, begin, end);
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const damageText = (whole: Uint8Array) =>
  next() < 0.3 ? damageBytes(whole) : damageJson(JSON.parse(Buffer.from(whole).toString()));
const special = (content: string, flags = {}) => ({
  content,
  lstrip: false,
  normalized: false,
  rstrip: false,
  single_word: false,
  special: true,
  ...flags,
});
const namesOfBert = { cls_token: '[CLS]', sep_token: '[SEP]', unk_token: '[UNK]', mask_token: special('[MASK]') };
const follows = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  model_input_names: ['input_ids', 'token_type_ids', 'attention_mask'],
  added_tokens_decoder: { 2: special('[CLS]'), 3: special('[SEP]', { single_word: true, normalized: true }) },
};
const roberta = {
  'vocab.json': JSON.parse(readFileSync(join(GOLDEN, 'checkpoints/roberta/vocab.json'), 'utf8')),
  'merges.txt': readFileSync(join(GOLDEN, 'checkpoints/roberta/merges.txt'), 'utf8'),
  'tokenizer_config.json': { tokenizer_class: 'RobertaTokenizer', add_prefix_space: true, trim_offsets: true },
  'special_tokens_map.json': { bos_token: '<s>', mask_token: special('<mask>', { lstrip: true }) },
};
const bytes = goldenJson<{ tokenizer: object }>('checkpoints/bytes').tokenizer;
const vocab = readFileSync(join(GOLDEN, 'checkpoints/bert/vocab.txt'), 'utf8');
/** What is damaged, where, how often in full, and how; and what of the checkpoint is another than in its golden. */
test.each([
  ['model.safetensors', 'smallest-bert', 100_000, damageSafetensors, {}],
  ['pytorch_model.bin', 'smallest-bert', 20_000, damagePickle, { 'model.safetensors': null }],
  ['config.json', 'smallest-bert', 20_000, damageText, {}],
  ['tokenizer.json', 'smallest-bert', 20_000, damageText, {}],
  ['tokenizer.json', 'smallest-bert', 20_000, damageText, { 'tokenizer_config.json': follows }],
  ['tokenizer.json', 'checkpoints/roberta', 10_000, damageText, { 'tokenizer.json': bytes }],
  ['tokenizer_config.json', 'smallest-bert', 20_000, damageText, {}],
  ['tokenizer_config.json', 'smallest-bert', 20_000, damageText, { 'tokenizer_config.json': follows }],
  ['tokenizer_config.json', 'checkpoints/roberta', 10_000, damageText, roberta],
  ['special_tokens_map.json', 'checkpoints/bert', 10_000, damageText, { 'special_tokens_map.json': namesOfBert }],
  ['special_tokens_map.json', 'checkpoints/roberta', 10_000, damageText, roberta],
  ['added_tokens.json', 'checkpoints/bert', 10_000, damageText, { 'added_tokens.json': { '<ent>': vocab.length } }],
  ['vocab.txt', 'checkpoints/bert', 10_000, damageBytes, {}],
  ['vocab.json', 'checkpoints/roberta', 10_000, damageText, roberta],
  ['merges.txt', 'checkpoints/roberta', 10_000, damageBytes, roberta],
] as const)(
  '%s of %s',
  async (name, from, most, damage, others) => {
    const count = FULL ? most : most / 50;
    rmSync(folder, { recursive: true, force: true });
    cpSync(join(GOLDEN, from), folder, { recursive: true });
    for (const [other, content] of Object.entries(others)) {
      if (content === null) rmSync(join(folder, other));
      else writeFileSync(join(folder, other), typeof content === 'string' ? content : JSON.stringify(content));
    }
    const whole = readFileSync(join(folder, name));
    const results = { opened: 0, refused: 0, slowest: 0, longest: 0 };
    const wrong: string[] = [];
    for (let i = 0; i < count; i++) {
      const content = damage(whole);
      writeFileSync(join(folder, name), content);
      const begin = process.cpuUsage(); // of this process: a machine may be busy
      let message = '';
      try {
        const qa = await load(folder, { device: 'reference', dtype: i % 2 ? 'fp32' : 'int8' });
        await qa.answer({ question: 'a b?', context: 'a cd b. c' });
        await qa.dispose();
        results.opened++;
      } catch (error) {
        results.refused++;
        ({ message } = error as Error);
        if (!(error instanceof BertletError)) message = (error as Error).stack!;
        if (!(error instanceof BertletError) || !/^[\P{C}]*$/u.test(message)) {
          wrong.push(
            `${message.slice(0, 1500)}\n${Buffer.from(content as string)
              .toString('base64')
              .slice(0, 8000)}`,
          );
        }
      }
      const { user, system } = process.cpuUsage(begin);
      results.slowest = Math.max(results.slowest, (user + system) / 1000);
      results.longest = Math.max(results.longest, message.length);
    }
    console.log(`${name}: ${count} damaged, ${JSON.stringify(results)}`);
    expect(wrong.length, wrong[0]).toBe(0);
    expect(results.slowest).toBeLessThan(2000);
    expect(results.longest).toBeLessThan(65_536);
    expect(results.opened).toBeGreaterThan(count / 200); // not all damage is at the door
  },
  7_200_000,
);

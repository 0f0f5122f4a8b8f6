// @unit
/** The safetensors reader against the official parser's rules (S1-S24 of its test list) and verdicts; the writer. */
import { describe, expect, test } from 'vitest';
import { uniform } from '../kernels/op.ts';
import { parseHeader, readSafetensors, toFloat32 } from '../src/checkpoint/safetensors.ts';
import { planSafetensors, writeSafetensors } from '../src/checkpoint/write.ts';
import { BertletError } from '../src/index.ts';
import type { HostTensor } from '../src/runtime.ts';
import { cpuMilliseconds } from './cpuTime.ts';
import { expectError, goldenJson, goldenTensors } from './support.ts';

/** A file of this header text (or bytes) and `data` bytes of zeros; `length` overrides the length field. */
function file(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}
const entry = (dtype: string, shape: string, offsets: string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;
const one = (dtype: string, shape: string, offsets: string, data: number) =>
  file(`{"t":${entry(dtype, shape, offsets)}}`, data);

describe('what the official parser refuses is refused, with the reason', () => {
  const same = entry('I32', '[2,2]', '[0,16]');
  test.each<[string, Uint8Array, RegExp]>([
    ['S1 empty', new Uint8Array(0), /at least 8 bytes, got 0/],
    ['S2 7 bytes', new Uint8Array(7), /at least 8 bytes, got 7/],
    ['S3 length 2^64 - 1', file('{}', 0, 2n ** 64n - 1n), /at most 100000000 bytes, got 18446744073709551615/],
    ['S4 high bytes ff', file('{}', 0, 0xff00000000000002n), /at most 100000000 bytes/],
    ['S5 100,000,001', file('{}', 0, 100_000_001n), /at most 100000000 bytes, got 100000001/],
    ['S6 length beyond the file', file('{}', 0, 3n), /header of 3 bytes, got 2/],
    ['S7 not UTF-8', file(Uint8Array.of(0xff)), /a header of JSON in UTF-8, got /],
    ['S8 unfinished', file('{'), /a header of JSON in UTF-8, got /],
    ['S9 array', file('[]'), /expected the header to be an object/],
    ['S9 null', file('null'), /expected the header to be an object/],
    ['S9 string', file('"x"'), /expected the header to be an object/],
    [
      'S10 ten tensors on the same bytes',
      file(`{${Array.from({ length: 10 }, (_, i) => `"weight_${i}":${same}`).join(',')}}`, 16),
      /tensor "weight_1": expected to begin at byte/,
    ],
    [
      'S11 hole',
      file(`{"a":${entry('U8', '[1]', '[0,1]')},"b":${entry('U8', '[1]', '[2,3]')}}`, 3),
      /tensor "b": expected to begin/,
    ],
    ['S12 first offset not 0', one('U8', '[1]', '[1,2]', 2), /tensor "t": expected to begin/],
    ['S13 end before begin', one('U8', '[1]', '[1,0]', 1), /expected 1 bytes for U8 \[1\], got -1/],
    ['S14 shape and bytes differ', one('I32', '[2,2]', '[0,4]', 4), /expected 16 bytes for I32 \[2,2\], got 4/],
    ['S15 2^64 - 2', one('I32', '[2,18446744073709551614]', '[0,16]', 16), /2\^53 - 1, got 18446744073709551614/],
    ['S15 2^63 - 1', one('I32', '[2,9223372036854775807]', '[0,16]', 16), /2\^53 - 1, got 9223372036854775807/],
    [
      'S15 product overflows',
      one('I32', '[4503599627370496,4]', '[0,16]', 16),
      /a shape of less than 2\^53 bytes, got \[4503599627370496,4\]/,
    ],
    ['S16 trailing data', one('U8', '[1]', '[0,1]', 36), /bytes in all, got/],
    ['S17 two bytes missing', one('I32', '[1]', '[0,4]', 2), /bytes in all, got/],
    ['S18 unknown dtype', one('F7', '[1]', '[0,1]', 1), /tensor "t": expected dtype F32, .*, got "F7"/],
    ['S19 duplicate tensor', file(`{"t":${same},"t":${same}}`, 16), /expected each key once, got a duplicate key/],
    [
      'S19 duplicate, escaped',
      file(`{"t":${same},"\\u0074":${same}}`, 16),
      /expected each key once, got a duplicate key/,
    ],
    [
      'S19 duplicate __metadata__',
      file('{"__metadata__":{},"__metadata__":{}}'),
      /expected each key once, got a duplicate key/,
    ],
    [
      'S19 duplicate dtype',
      file('{"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
      /duplicate key/,
    ],
    ['S21 negative', one('U8', '[-1]', '[0,1]', 1), /integers from 0 to 2\^53 - 1, got -1/],
    ['S21 1.5', one('U8', '[1.5]', '[0,1]', 1), /got 1\.5/],
    ['S21 1e3', one('U8', '[1e3]', '[0,1000]', 1000), /got 1e3/],
    ['S21 string', one('U8', '["4"]', '[0,4]', 4), /a shape of integers from 0 to 2\^53 - 1, got \["4"\]/],
    ['S21 missing field', file('{"t":{"dtype":"U8","shape":[0]}}'), /expected two data_offsets, got undefined/],
    ['S21 extra field', file(`{"t":{"x":1,${same.slice(1)}}`, 16), /unknown field "x"/],
    ['S21 three offsets', one('U8', '[1]', '[0,1,1]', 1), /expected two data_offsets, got \[0,1,1\]/],
    ['S21 entry is a list', file('{"t":[]}'), /tensor "t": expected an object/],
    ['S22 __metadata__ of numbers', file('{"__metadata__":{"a":1}}'), /__metadata__ to map strings to strings/],
    ['S22 __metadata__ is a list', file('{"__metadata__":[]}'), /__metadata__ to map strings to strings/],
    ['S23 10^5 brackets', file('['.repeat(100_000)), /a header of JSON in UTF-8, got /],
    ['S23 the same, closed', file('['.repeat(100_000) + ']'.repeat(100_000)), /header to be an object/],
    ['a lone surrogate', file('{"__metadata__":{"a":"\\ud800"}}'), /expected UTF-8 strings/],
    ['a byte order mark', file('\ufeff{}'), /a header of JSON in UTF-8, got /],
  ])('%s', async (_, bytes, message) => {
    const refuse = () => expectError('safetensors', message, () => readSafetensors(bytes, 'model.safetensors'));
    expect(await cpuMilliseconds(refuse)).toBeLessThan(500); // 50 on the developer's machine
  });
});

describe('a header of any length and content: linear time, a short and printable message', () => {
  const string = 'x'.repeat(9e6);
  const empty = entry('F32', '[0]', '[0,0]');
  test.each<[string, Uint8Array, RegExp | null]>([
    ['a string of 9 MB', file(`{"__metadata__":{"a":"${string}"}}`), null],
    ['a string of 9 MB of escapes', file(`{"__metadata__":{"a":"${'\\u0041'.repeat(1.5e6)}"}}`), null],
    ['100,000 tensors', file(`{${Array.from({ length: 1e5 }, (_, i) => `"${i}":${empty}`).join()}}`), null],
    [
      'a key of 9 MB twice',
      file(`{"${string}":${empty},"${string}":${empty}}`),
      /expected each key once, got a duplicate key/,
    ],
    ['a dtype of 9 MB', one(string, '[]', '[0,4]', 4), /expected dtype F32, .*, got "xxx/],
    ['a field of 9 MB', file(`{"t":{"${string}":1}}`), /unknown field "xxx/],
    ['a number of 9 MB', one('F32', `[${'1'.repeat(9e6)}]`, '[0,4]', 4), /2\^53 - 1, got 1{60}\.\.\./],
    ['a shape of 1,000,000 sizes', one('F32', `[${'1,'.repeat(1e6)}1]`, '[0,5]', 5), /expected 4 bytes/],
    [
      'a shape 100,000 deep',
      one('F32', '['.repeat(1e5) + ']'.repeat(1e5), '[0,4]', 4),
      /a shape of integers from 0 to 2\^53 - 1, got \[an array of 1\]/,
    ],
    ['3,000,000 objects', file(`${'{"a":'.repeat(1e6)}{}${'}'.repeat(1e6)}`), /unknown field "a"/],
    [
      'a name that clears the screen',
      file('{"\\u001b[2J\\u202e":[]}'),
      /tensor "\\u001b\[2J\\u202e": expected an object/,
    ],
  ])('%s', async (_, bytes, message) => {
    let error: unknown = null;
    const read = () => {
      try {
        readSafetensors(bytes, 'a\u001b[31m\n.safetensors');
      } catch (caught) {
        error = caught;
      }
    };
    expect(await cpuMilliseconds(async () => read())).toBeLessThan(4000); // 900 on the developer's machine
    if (!message) return expect(error).toBe(null);
    const { name, message: text } = error as BertletError;
    expect(name).toBe('BertletError');
    expect(text).toMatch(message);
    expect(text).toMatch(/^a\\u001b\[31m\\u000a\.safetensors: [ -~]{1,600}$/);
  });
});

describe('what it accepts is accepted', () => {
  test.each<[string, Uint8Array, string[]]>([
    ['S24 {} and spaces', file('{}      '), []],
    ['S24 leading spaces', file('   {}'), []],
    ['S24 [2,0]', one('F32', '[2,0]', '[0,0]', 0), ['t']],
    ['S24 rank 0', one('F32', '[]', '[0,4]', 4), ['t']],
    [
      'S24 zero-size tensor at the offset of another',
      file(`{"b":${entry('U8', '[1]', '[0,1]')},"a":${entry('U8', '[0]', '[0,0]')}}`, 1),
      ['a', 'b'],
    ],
    ['S20 __proto__', file(`{"__proto__":${entry('U8', '[1]', '[0,1]')}}`, 1), ['__proto__']],
    ['S20 constructor', file(`{"constructor":${entry('U8', '[1]', '[0,1]')}}`, 1), ['constructor']],
    ['S20 toString, NUL', file(`{"toString\\u0000":${entry('U8', '[1]', '[0,1]')}}`, 1), ['toString\0']],
    ['__metadata__ null', file(`{"__metadata__":null,"t":${entry('U8', '[1]', '[0,1]')}}`, 1), ['t']],
    ['metadata', file('{"__metadata__":{"format":"pt","1e3":"-1"}}'), []],
  ])('%s', (_, bytes, names) => expect([...readSafetensors(bytes).keys()]).toEqual(names));
});

/** Mutated files and what Python's safetensors said of each (test/golden/make_safetensors.py). */
describe('verdicts of the official parser', () => {
  const { files } = goldenJson<{ files: [base64: string, accepted: boolean][] }>('safetensors');
  /** Where this reader is stricter, by design: see the head of safetensors.ts. */
  const STRICTER = /duplicate key|unknown field|expected dtype|2\^53 - 1|__metadata__ to map/;
  test(`${files.length} mutated files`, () => {
    const wrong: string[] = [];
    let stricter = 0;
    for (const [base64, accepted] of files) {
      const bytes = new Uint8Array(Buffer.from(base64, 'base64'));
      let error: unknown = null;
      try {
        readSafetensors(bytes);
      } catch (caught) {
        error = caught;
      }
      if (error && !(error instanceof BertletError)) wrong.push(`${error} ${base64}`);
      else if (accepted && error && STRICTER.test((error as Error).message)) stricter++;
      else if (accepted !== !error) wrong.push(`official: ${accepted}, here: ${error ?? 'accepted'} ${base64}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(files.filter(([, accepted]) => accepted).length).toBeGreaterThan(100);
    expect(stricter).toBeLessThan(files.length / 10);
  });
  test('random bytes give no other error', () => {
    const next = uniform(3);
    for (let i = 0; i < 20_000; i++) {
      const bytes = Uint8Array.from({ length: Math.floor(next() * 64) }, () => next() * 256);
      if (bytes.length > 8 && i % 2) bytes.fill(0, 1, 8);
      try {
        readSafetensors(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(BertletError);
      }
    }
  });
});

describe('writer', () => {
  const tensors: [string, HostTensor][] = [
    ['bytes', { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 255) }],
    ['half', { dtype: 'F16', shape: [2, 1], data: Uint16Array.of(0x3c00, 0xfc00) }],
    ['brain', { dtype: 'BF16', shape: [1], data: Uint16Array.of(0x3f80) }],
    ['float', { dtype: 'F32', shape: [], data: Float32Array.of(Math.fround(0.1)) }],
    ['int', { dtype: 'I32', shape: [2], data: Int32Array.of(-1, 2 ** 31 - 1) }],
    ['long', { dtype: 'I64', shape: [1], data: BigInt64Array.of(-(2n ** 63n)) }],
    ['signed', { dtype: 'I8', shape: [1, 2], data: Int8Array.of(-128, 127) }],
    ['none', { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) }],
    ['"quoted"\n', { dtype: 'U8', shape: [1], data: Uint8Array.of(7) }],
  ];
  test('what is written is read back, into memory of its own', () => {
    const bytes = writeSafetensors(tensors, { format: 'pt' });
    const read = readSafetensors(bytes);
    expect(read.size).toBe(tensors.length);
    for (const [name, { dtype, shape, data }] of tensors) {
      expect(read.get(name)).toEqual({ dtype, shape, data });
      expect(read.get(name)!.data.buffer === bytes.buffer, name).toBe(false);
    }
  });
  test('a file that is not aligned in memory', () => {
    const bytes = writeSafetensors(tensors);
    const shifted = new Uint8Array(bytes.length + 1).subarray(1);
    shifted.set(bytes);
    const read = readSafetensors(shifted);
    for (const [name, { data }] of tensors) expect(read.get(name)!.data, name).toEqual(data);
  });
  test('the same tensors in another order give the same bytes, of the size foretold', () => {
    const bytes = writeSafetensors(tensors);
    expect(writeSafetensors(tensors.toReversed())).toEqual(bytes);
    expect(planSafetensors(tensors).total).toBe(bytes.length);
  });
  test('the data begins at a multiple of 8, however long the header is', () => {
    const lengths = ['', 'p', 'pt', 'pt2'].map((format) => {
      const bytes = writeSafetensors(tensors, { format });
      return new DataView(bytes.buffer).getBigUint64(0, true) % 8n;
    });
    expect(lengths).toEqual([0n, 0n, 0n, 0n]);
  });
  test('a file of Hugging Face read and written again keeps every tensor', () => {
    const golden = goldenTensors('ops');
    const again = readSafetensors(writeSafetensors(golden));
    expect([...again.keys()].toSorted()).toEqual([...golden.keys()].toSorted());
    const bytes = ({ data }: HostTensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    for (const [name, { dtype, shape, ...tensor }] of golden) {
      expect(again.get(name), name).toMatchObject({ dtype, shape });
      expect(bytes(again.get(name)!).equals(bytes({ dtype, shape, ...tensor })), name).toBe(true);
    }
  });
});

describe('widening to float32 is exact', () => {
  test.each([
    [0x0000, 0],
    [0x8000, -0],
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x03ff, (1023 / 1024) * 2 ** -14],
    [0x0001, 2 ** -24],
    [0x3555, 1365 / 4096],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
    [0x7e00, Number.NaN],
  ])('F16 %i is %d', (bits, value) => {
    expect(toFloat32({ dtype: 'F16', shape: [1], data: Uint16Array.of(bits) })[0]).toBe(value);
  });
  test('BF16', () => {
    const data = Uint16Array.of(0x3f80, 0xc049, 0x0001, 0x7f80);
    const values = toFloat32({ dtype: 'BF16', shape: [4], data });
    expect([...values]).toEqual([1, -3.140625, 2 ** -133, Number.POSITIVE_INFINITY]);
  });
  test('F32 is not copied', () => {
    const data = Float32Array.of(1);
    expect(toFloat32({ dtype: 'F32', shape: [1], data })).toBe(data);
  });
  test('F64 is rounded; tensors of dtypes without numbers here are no hindrance to a header', () => {
    const wide = file(`{"t":${entry('F64', '[2]', '[0,16]')}}`, 16);
    new DataView(wide.buffer).setFloat64(wide.length - 16, 0.1, true);
    expect(readSafetensors(wide).get('t')).toEqual({ dtype: 'F32', shape: [2], data: Float32Array.of(0.1, 0) });
    const header = new TextEncoder().encode(
      `{"t":${entry('BOOL', '[2]', '[0,2]')},"u":${entry('U64', '[]', '[2,10]')}}`,
    );
    expect([...parseHeader(header, 8 + header.length + 10).keys()]).toEqual(['t', 'u']);
  });
  test('integers are refused', () =>
    expectError('weights', /x: expected F32, F16 or BF16, got I8/, () =>
      toFloat32({ dtype: 'I8', shape: [1], data: Int8Array.of(1) }, 'x'),
    ));
});

// @unit
/** Parts of the page (web/) that need no browser: spans, excerpts, and problems in words. */
import { describe, expect, test } from 'vitest';
import { EngineError } from '../programs/web/engine.ts';
import { checkFiles, cures, inWords } from '../programs/web/problems.ts';
import { candidates, excerpt, percent, pieces } from '../programs/web/spans.ts';

describe('parts that need no browser', () => {
  test('pieces: the passage cut where answers begin and end, the best answer of each piece', () => {
    const spans = [
      { start: 4, end: 8 },
      { start: 0, end: 8 },
      { start: 6, end: 12 },
    ];
    expect(pieces('the cat sat down', spans)).toEqual([
      { text: 'the ', rank: 1 },
      { text: 'ca', rank: 0 },
      { text: 't ', rank: 0 },
      { text: 'sat ', rank: 2 },
      { text: 'down', rank: null },
    ]);
    expect(pieces('', [])).toEqual([]);
    expect(pieces('abc', [])).toEqual([{ text: 'abc', rank: null }]);
  });
  test('candidates: what overlaps or says the same counts as one; shares of the sum of scores', () => {
    const of = (text: string, start: number, score: number) => ({ text, start, end: start + text.length, score });
    const answers = [of('the cat', 0, 0.004), of('', 0, 0.003), of('cat sat', 4, 0.001), of('dog', 20, 0.0015)];
    expect(candidates([...answers, of('the cat', 40, 0.0005)])).toEqual([
      { best: answers[0], share: expect.closeTo(0.55, 9) },
      { best: answers[1], share: expect.closeTo(0.3, 9) },
      { best: answers[3], share: expect.closeTo(0.15, 9) },
    ]);
  });
  test('percent: no certainty', () => {
    expect([0, 0.004, 0.006, 0.5, 0.994, 0.996, 1].map(percent)).toEqual([
      '< 1 %',
      '< 1 %',
      '1 %',
      '50 %',
      '99 %',
      '> 99 %',
      '> 99 %',
    ]);
  });
  test('excerpt: whole words around an answer', () => {
    const text = 'one two three four five six seven';
    expect(excerpt(text, { start: 14, end: 18 }, 8)).toEqual({ before: '…\u00a0three ', after: ' five\u00a0…' });
    expect(excerpt(text, { start: 0, end: 3 }, 100)).toEqual({ before: '', after: ' two three four five six seven' });
  });
  test('checkFiles: what the files of a model lack', () => {
    checkFiles(['config.json', 'model.safetensors', 'tokenizer.json']);
    checkFiles(['config.json', 'pytorch_model.bin', 'vocab.txt', 'tokenizer_config.json']);
    expect(() => checkFiles(['notes.txt', 'config.json', 'vocab.txt'])).toThrow(
      /expected model\.safetensors or pytorch_model\.bin, tokenizer_config\.json as well, got notes\.txt/,
    );
  });
  test.each([
    ['file', 'Array buffer allocation failed', 'There is not enough memory'],
    ['file', 'https://huggingface.co: Failed to fetch', 'The network cannot be reached'],
    ['file', 'HTTP status 404', 'A file cannot be read'],
    ['device', 'got a device that is lost (reset)', 'The GPU was lost'],
    ['weights', 'expected finite values', 'This is not a model that bertlet runs'],
    ['unknown', 'x is undefined', 'Something went wrong'],
  ] as const)('an error %s, "%s", in words', (code, message, title) => {
    const problem = inWords(new EngineError(code, message));
    expect(problem.title).toBe(title);
    expect(problem.text).toContain(message);
  });
  test.each([
    [
      'question: expected at most 380 tokens, got 400. It is never cut: shorten it, or raise `maxTokens`.',
      ['question'],
    ],
    [
      'question and context: expected at most 512 tokens, got 900. Shorten the passage: one window is explained.',
      ['passage'],
    ],
    ['cpu: expected kernels that work, got some that do not. Use `reference`.', ['again']],
    ['cpu: expected 4 threads, got an error. Ask for fewer `threads`.', ['again', 'one thread']],
    ['kernels: expected one, got none. Run `npm run build`.', ['again']],
    [
      'm: expected a folder here or a model of H, revision main, got fetch failed. Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, or load a folder.',
      ['again'],
    ],
  ])('%s: no advice for programs, and what a button can do', (message, cure) => {
    const error = new EngineError('device', message);
    const { text } = inWords(error);
    expect(text).not.toMatch(/maxTokens|reference|`|fewer|npm|HF_|folder/);
    expect(text).toMatch(/expected.*, got /);
    const settings = { device: 'cpu', dtype: 'int8', scheme: 'accurate', threads: 4 } as const;
    expect(cures(error, settings, { embedded: true })).toEqual(cure);
  });
  test('cures depend on what is set', () => {
    const memory = new EngineError('device', 'out of memory');
    const gpu = { device: 'webgpu', dtype: 'fp32', scheme: 'torch', threads: 1 } as const;
    expect(cures(memory, gpu, { embedded: false })).toEqual(['again', 'int8', 'cpu', 'embedded']);
  });
});

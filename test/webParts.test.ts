/** Parts of the page (web/) that need no browser: spans, excerpts, and problems in words. */
import { describe, expect, test } from 'vitest';
import { EngineError } from '../programs/web/engine.ts';
import { inWords, missing } from '../programs/web/problems.ts';
import { excerpt, pieces } from '../programs/web/spans.ts';

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
  test('excerpt: whole words around an answer', () => {
    const text = 'one two three four five six seven';
    expect(excerpt(text, { start: 14, end: 18 }, 8)).toEqual({ before: '… three ', after: ' five …' });
    expect(excerpt(text, { start: 0, end: 3 }, 100)).toEqual({ before: '', after: ' two three four five six seven' });
  });
  test('missing: what the files of a model lack', () => {
    expect(missing(['config.json', 'model.safetensors', 'tokenizer.json'])).toBeNull();
    expect(missing(['config.json', 'pytorch_model.bin', 'vocab.txt', 'tokenizer_config.json'])).toBeNull();
    expect(missing(['notes.txt', 'config.json', 'vocab.txt'])).toMatch(
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
});

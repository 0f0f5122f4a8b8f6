// @unit
/** Files of people: their encodings (bench/files.ts), and where a program's output goes (programs/write.ts). */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { decode } from '../bench/files.ts';
import { checkWritable, writeWhole } from '../programs/write.ts';
import { expectError } from './support.ts';

const root = mkdtempSync(join(tmpdir(), 'bertlet-files-'));
afterAll(() => rmSync(root, { recursive: true }));

describe('text', () => {
  const TEXT = 'É “x”, 😀\n';
  const utf16 = (text: string, bigEndian = false) => {
    const bytes = Buffer.from(`\ufeff${text}`, 'utf16le');
    return bigEndian ? bytes.swap16() : bytes;
  };
  test.each<[string, Uint8Array, string]>([
    ['UTF-8', Buffer.from(TEXT), TEXT],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${TEXT}`), TEXT],
    ['UTF-16 LE', utf16(TEXT), TEXT],
    ['UTF-16 BE', utf16(TEXT, true), TEXT],
    ['nothing', Buffer.of(), ''],
    ['a mark alone', utf16(''), ''],
    ['two marks: the second is a character', Buffer.from('\ufeff\ufeffa'), '\ufeffa'],
    ['U+FFFD itself', Buffer.from('a\ufffd'), 'a\ufffd'],
  ])('%s', (_, bytes, text) => expect(decode(bytes, 'x.txt')).toBe(text));

  test.each<[string, Uint8Array, string]>([
    ['Latin-1', Buffer.from('caf\xe9 au lait', 'latin1'), '0xe9 at byte 3'],
    ['Latin-1 at the end', Buffer.from('é caf\xe9'.replace('é', 'e'), 'latin1'), '0xe9 at byte 5'],
    [
      'after a mark and a long text',
      Buffer.concat([Buffer.from(`\ufeff${'é'.repeat(5000)}`), Buffer.of(0xff)]),
      '0xff at byte 10003',
    ],
    ['half a character in the middle', Buffer.from([97, 0xf0, 0x9f, 0x98, 98]), '0xf0 at byte 1'],
    ['UTF-16 without a mark', Buffer.from('ab', 'utf16le'), '0x00 at byte 1'],
    ['UTF-32', Buffer.from([0xff, 0xfe, 0, 0, 97, 0, 0, 0]), '0x00 at byte 2'],
    ['half a pair', Buffer.concat([utf16('ab'), Buffer.of(0, 0xd8, 97, 0)]), '0x00 at byte 6'],
    ['half a unit', Buffer.concat([utf16('ab'), Buffer.of(97)]), '0x61 at byte 6'],
    ['a zero', Buffer.from('é\0'), '0x00 at byte 2'],
  ])('refused: %s', (_, bytes, found) =>
    expectError(
      'file',
      new RegExp(`^x\\.txt: expected text in UTF-8, or in UTF-16 .*, got ${found}\\. Save it as UTF-8\\.$`),
      () => decode(bytes, 'x.txt'),
    ),
  );
});

describe.skipIf(process.platform === 'win32')('output', () => {
  let folder: string;
  const at = (name: string) => join(folder, name);
  beforeEach(() => {
    folder = mkdtempSync(join(root, 'output-'));
  });

  test('a file appears with its folder', async () => {
    await writeWhole(at('a/b/c.json'), 'x');
    expect([readFileSync(at('a/b/c.json'), 'utf8'), readdirSync(at('a/b'))]).toEqual(['x', ['c.json']]);
  });
  test('a file is replaced whole, with its permissions', async () => {
    writeFileSync(at('a'), 'before, and longer');
    chmodSync(at('a'), 0o640);
    const { ino } = statSync(at('a'));
    await writeWhole(at('a'), 'after');
    const { ino: now, mode } = statSync(at('a'));
    expect([readFileSync(at('a'), 'utf8'), mode & 0o777, now === ino]).toEqual(['after', 0o640, false]);
  });
  test('a link stays, and the file that it names is replaced, or made', async () => {
    writeFileSync(at('file'), 'before');
    symlinkSync('file', at('link'));
    symlinkSync('new', at('dangling'));
    for (const [link, file] of [
      ['link', 'file'],
      ['dangling', 'new'],
    ] as const) {
      await checkWritable(at(link));
      await writeWhole(at(link), 'after');
      expect([lstatSync(at(link)).isSymbolicLink(), readFileSync(at(file), 'utf8')]).toEqual([true, 'after']);
    }
    expect(readdirSync(folder).toSorted()).toEqual(['dangling', 'file', 'link', 'new']);
  });
  test('a pipe is written into', async () => {
    expect(spawnSync('mkfifo', [at('pipe')]).status).toBe(0);
    await checkWritable(at('pipe'));
    const { readFile } = await import('node:fs/promises');
    const [text] = await Promise.all([readFile(at('pipe'), 'utf8'), writeWhole(at('pipe'), 'x')]);
    expect([text, lstatSync(at('pipe')).isFIFO()]).toEqual(['x', true]);
  });
  test('a device stays one', async ({ skip }) => {
    // One of our own where this user could lose the machine's by a mistake.
    const device = process.getuid!() === 0 ? at('null') : '/dev/null';
    if (device !== '/dev/null' && spawnSync('mknod', [device, 'c', '1', '3']).status !== 0) return skip();
    symlinkSync(device, at('link'));
    for (const path of [device, at('link')]) {
      await checkWritable(path);
      await writeWhole(path, 'x');
    }
    expect([lstatSync(device).isCharacterDevice(), lstatSync(at('link')).isSymbolicLink()]).toEqual([true, true]);
  });
  test.skipIf(process.platform !== 'linux')('a full disk is an error', () =>
    expect(writeWhole('/dev/full', 'x')).rejects.toMatchObject({ code: 'ENOSPC', syscall: 'write' }),
  );
  test('/dev/stdout and /dev/stderr are those of the program', async () => {
    const written = { out: '', error: '' };
    const into = (name: keyof typeof written) =>
      new Writable({
        write: (text: Buffer, _, done) => {
          written[name] += text;
          done();
        },
      });
    const io = { stdout: into('out'), stderr: into('error') };
    for (const path of ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1']) {
      await checkWritable(path);
      await writeWhole(path, 'x', io);
    }
    await writeWhole('/dev/stderr', 'y', io);
    expect(written).toEqual({ out: 'xxx', error: 'y' });
  });
  test('what cannot be written: no folder for it, a folder; and nothing is left behind', async () => {
    await expect(checkWritable(at('none/a'))).rejects.toThrow(/ENOENT.*none/);
    await expect(writeWhole(folder, 'x')).rejects.toThrow(/EISDIR/);
    writeFileSync(at('a'), '');
    await expect(writeWhole(at('a/b'), 'x')).rejects.toThrow(/EEXIST|ENOTDIR/);
    expect(readdirSync(folder)).toEqual(['a']);
  });
});

/** A server that speaks as much of the Hugging Face Hub as a download needs, and the faults that one can have. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export type Fault = 'cut' | 'long' | 'changed' | 'html' | 'lfs-pointer' | 'slow' | 'silent' | 'no-range' | number;
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

const sha = (kind: 'sha1' | 'sha256', ...parts: (string | Uint8Array)[]) => {
  const hash = createHash(kind);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Serves a folder as the model `owner/name`; `faults` by file, '*' for the API. A list of them has one for each request. */
export async function hubServer(folder: string, id = 'owner/name') {
  const faults = new Map<string, Fault | (Fault | 'none')[]>();
  const faultOf = (name: string) => {
    const fault = faults.get(name);
    return Array.isArray(fault) ? fault.shift() : fault;
  };
  const settings = { cdn: '', retryAfter: '' };
  const requests: string[] = [];
  /** Requests that their clients gave up. */
  const left: string[] = [];
  const tokens = new Set<string | undefined>();
  const cdnTokens = new Set<string | undefined>();
  const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  const large = (name: string) => /\.(safetensors|bin)$/.test(name); // as Git LFS would keep them
  const about = (path: string) => {
    const bytes = files.get(path)!;
    const lfs = large(path) && { lfs: { oid: sha('sha256', bytes), size: bytes.length, pointerSize: 134 } };
    return { type: 'file', path, size: bytes.length, oid: sha('sha1', `blob ${bytes.length}\0`, bytes), ...lfs };
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    requests.push([request.method, pathname, request.headers.range].filter(Boolean).join(' '));
    response.on('close', () => response.writableEnded || left.push(pathname));
    (pathname.startsWith('/cdn/') && settings.cdn ? cdnTokens : tokens).add(request.headers.authorization);
    const cors = { 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' };
    const json = (value: unknown, status = 200) => {
      const wait = settings.retryAfter && { 'retry-after': settings.retryAfter };
      response.writeHead(status, { 'content-type': 'application/json', ...wait, ...cors });
      response.end(JSON.stringify(value));
    };
    const api = pathname.startsWith('/api/') ? faultOf('*') : undefined;
    if (typeof api === 'number') return json({ error: 'refused' }, api);
    if (api === 'silent') return;
    if (api === 'html') return json('<html>');
    if (pathname.startsWith(`/api/models/${id}/revision/`)) {
      const known = ['main', 'v1', 'refs/pr/1', 'fix+1', COMMIT].includes(
        decodeURIComponent(pathname.split('/').at(-1)!),
      );
      if (!known) return json({ error: 'Invalid rev id' }, 404);
      return json({
        _id: '1',
        id,
        sha: COMMIT,
        private: false,
        gated: false,
        likes: 0,
        downloads: 0,
        lastModified: '2026-01-01',
      });
    }
    if (pathname === `/api/models/${id}/paths-info/${COMMIT}`) {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        const { paths } = JSON.parse(body) as { paths: string[] };
        const evil = { type: 'file', path: '../../evil', size: 1, oid: 'a'.repeat(40) };
        json([...paths.filter((path) => files.has(path)).map(about), evil]);
      });
      return;
    }
    const path = pathname.split('/').at(-1)!;
    const { oid, lfs } = files.has(path) ? about(path) : { oid: '', lfs: false as const };
    if (pathname === `/${id}/resolve/${COMMIT}/${path}` && lfs) {
      const linked = { 'x-linked-size': lfs.size, 'x-linked-etag': `"${lfs.oid}"`, etag: `"${lfs.oid}"` };
      response.writeHead(302, { location: `${settings.cdn}/cdn/${path}`, ...linked, ...cors });
      return response.end();
    }
    if (!files.has(path) || ![`/${id}/resolve/${COMMIT}/${path}`, `/cdn/${path}`].includes(pathname)) {
      return json({ error: 'Entry not found' }, 404);
    }
    const whole = files.get(path)!;
    const fault = faultOf(path);
    if (fault === 'silent') return;
    if (typeof fault === 'number') return json({ error: 'refused' }, fault);
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const begin = Number(first ?? 0);
    const end = last ? Math.min(Number(last) + 1, whole.length) : whole.length;
    let body: Buffer = fault === 'no-range' ? whole : whole.subarray(begin, end);
    const probing = request.headers.range === 'bytes=0-0';
    if (!probing && fault === 'html') body = Buffer.from('<!DOCTYPE html><title>Sign in</title>');
    if (!probing && fault === 'lfs-pointer') body = Buffer.from('version https://git-lfs.github.com/spec/v1\n');
    if (!probing && fault === 'long') body = Buffer.concat([body, body]);
    if (!probing && fault === 'changed') body = Buffer.from(body.map((byte, i) => (i === 5 ? byte ^ 1 : byte)));
    const range =
      request.headers.range && (probing || !['html', 'lfs-pointer', 'long', 'no-range'].includes(String(fault)));
    response.writeHead(range ? 206 : 200, {
      ...cors,
      ...(range && { 'content-range': `bytes ${begin}-${end - 1}/${whole.length}` }),
      'content-type': fault === 'html' && !probing ? 'text/html' : 'application/octet-stream',
      'content-length': body.length,
      etag: `"${lfs ? lfs.oid : oid}"`,
    });
    if (!probing && fault === 'cut') {
      response.write(body.subarray(0, body.length >> 1), () => response.destroy());
    } else if (!probing && fault === 'slow') {
      const step = Math.ceil(body.length / 20);
      let at = 0;
      const timer = setInterval(() => {
        response.write(body.subarray(at, at + step));
        at += step;
        if (at < body.length) return;
        clearInterval(timer);
        response.end();
      }, 20);
    } else response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { endpoint, faults, requests, left, tokens, cdnTokens, settings, close };
}

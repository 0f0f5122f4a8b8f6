/** A server that speaks as much of the Hugging Face Hub as a download needs, and the faults that one can have. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

type Body = 'cut' | 'long' | 'changed' | 'html' | 'lfs-pointer' | 'slow' | 'no-range' | 'endless' | 'bomb';
export type Fault = Body | 'silent' | number;
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

const sha = (kind: 'sha1' | 'sha256', ...parts: (string | Uint8Array)[]) => {
  const hash = createHash(kind);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

type Sent = Record<string, string | undefined>;
const REVISIONS = ['main', 'v1', 'refs/pr/1', 'fix+1', COMMIT];

/**
 * Serves a folder as the model `owner/name`, with the headers of the Hub. `faults` by file, '*' for what is asked before a
 * file is: a HEAD, or the commit of a branch. A list of them has one for each request.
 */
export async function hubServer(folder: string, id = 'owner/name') {
  const faults = new Map<string, Fault | (Fault | 'none')[]>();
  const faultOf = (name: string) => {
    const fault = faults.get(name);
    return Array.isArray(fault) ? fault.shift() : fault;
  };
  /** `former`: a name that redirects to the model's. `headers` of a file, instead of the Hub's own; undefined: not sent. */
  const settings = { cdn: '', retryAfter: '', former: '', headers: (_: string): Sent => ({}) };
  const requests: string[] = [];
  /** Requests that their clients gave up. */
  const left: string[] = [];
  const tokens = new Set<string | undefined>();
  const cdnTokens = new Set<string | undefined>();
  const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  const large = (name: string) => /\.(safetensors|bin)$/.test(name); // as Git LFS would keep them
  const hashOf = (name: string, bytes: Uint8Array) =>
    large(name) ? sha('sha256', bytes) : sha('sha1', `blob ${bytes.length}\0`, bytes);
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    requests.push([request.method, pathname, request.headers.range].filter(Boolean).join(' '));
    response.on('close', () => response.writableEnded || left.push(pathname));
    (pathname.startsWith('/cdn/') && settings.cdn ? cdnTokens : tokens).add(request.headers.authorization);
    const exposed = 'X-Repo-Commit,X-Error-Code,ETag,X-Linked-Size,X-Linked-ETag,Content-Range';
    const cors = {
      'access-control-allow-origin': '*',
      'access-control-expose-headers': exposed,
      'cross-origin-resource-policy': 'cross-origin',
    };
    const refuse = (status: number, headers = {}) => {
      const wait = settings.retryAfter && { 'retry-after': settings.retryAfter };
      response.writeHead(status, { 'content-type': 'application/json', ...wait, ...cors, ...headers });
      response.end('{"error":"refused"}');
    };
    if (settings.former && pathname.startsWith(`/${settings.former}/`)) {
      return refuse(307, { location: pathname.replace(settings.former, id) });
    }
    const [, revision = '', path = ''] =
      new RegExp(`^/${id}/resolve/([^/]+)/(.+)$`).exec(pathname) ?? /^\/(cdn)\/(.+)$/.exec(pathname) ?? [];
    const isFirst = request.method === 'HEAD' || !['cdn', COMMIT].includes(revision);
    const first = isFirst ? faultOf('*') : undefined;
    if (typeof first === 'number') return refuse(first);
    if (first === 'silent') return;
    if (first === 'html') return response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
    if (![...REVISIONS, 'cdn'].includes(decodeURIComponent(revision))) {
      return refuse(404, { 'x-error-code': revision ? 'RevisionNotFound' : 'RepoNotFound' });
    }
    const own: Record<string, string | undefined> = revision === 'cdn' ? {} : { 'x-repo-commit': COMMIT };
    const whole = files.get(path);
    if (whole && revision !== 'cdn') own.etag = `"${hashOf(path, whole)}"`;
    const linked = whole && large(path) && { 'x-linked-size': `${whole.length}`, 'x-linked-etag': own.etag };
    const sent = Object.entries({ ...own, ...linked, ...settings.headers(path) }).filter(
      ([, value]) => value !== undefined,
    );
    const headers = Object.fromEntries(sent);
    if (!whole) return refuse(404, { 'x-error-code': 'EntryNotFound', ...headers, ...cors });
    if (large(path) && revision !== 'cdn') {
      response.writeHead(302, { location: `${settings.cdn}/cdn/${path}`, ...headers, ...cors });
      return response.end();
    }
    if (request.method === 'HEAD') {
      return response.writeHead(200, { 'content-length': whole.length, ...headers, ...cors }).end();
    }
    const fault = faultOf(path);
    if (fault === 'silent') return;
    if (typeof fault === 'number') return refuse(fault);
    const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    const begin = Number(from ?? 0);
    let body: Buffer = fault === 'no-range' ? whole : whole.subarray(begin);
    if (fault === 'html') body = Buffer.from('<!DOCTYPE html><title>Sign in</title>');
    if (fault === 'lfs-pointer') body = Buffer.from('version https://git-lfs.github.com/spec/v1\n');
    if (fault === 'long') body = Buffer.concat([body, body]);
    if (fault === 'changed') body = Buffer.from(body.map((byte, i) => (i === 5 ? byte ^ 1 : byte)));
    const isRange = from && !['html', 'lfs-pointer', 'long', 'no-range'].includes(String(fault));
    response.writeHead(isRange ? 206 : 200, {
      ...cors,
      ...headers,
      ...(isRange && { 'content-range': `bytes ${begin}-${whole.length - 1}/${whole.length}` }),
      'content-type': fault === 'html' ? 'text/html' : 'application/octet-stream',
      ...(fault !== 'endless' && fault !== 'bomb' && { 'content-length': body.length }),
      ...(fault === 'bomb' && { 'content-encoding': 'gzip' }),
    });
    if (fault === 'cut') response.write(body.subarray(0, body.length >> 1), () => response.destroy());
    else if (fault === 'slow') drip(response, body);
    else if (fault === 'endless') void pipeline(zeros(), response).catch(() => {});
    else if (fault === 'bomb') void pipeline(zeros(512), createGzip(), response).catch(() => {});
    else response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { endpoint, faults, requests, left, tokens, cdnTokens, settings, close };
}

/** Sends a body in twenty parts. */
function drip(response: ServerResponse, body: Buffer): void {
  const step = Math.ceil(body.length / 20);
  let at = 0;
  const timer = setInterval(() => {
    response.write(body.subarray(at, at + step));
    at += step;
    if (at < body.length) return;
    clearInterval(timer);
    response.end();
  }, 20);
}

/** So many megabytes. */
function* zeros(count = Infinity): Generator<Buffer> {
  const megabyte = Buffer.alloc(2 ** 20);
  for (let i = 0; i < count; i++) yield megabyte;
}

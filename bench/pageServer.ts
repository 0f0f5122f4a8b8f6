/** Serves a folder to a browser, with the headers that threads need or without. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { text } from 'node:stream/consumers';

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
};
const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

export type PageServer = Awaited<ReturnType<typeof pageServer>>;

/** @param options `lengths`: tell how long files are; `onPost`: told what a page posts */
export async function pageServer(
  folder: string,
  options: { isolated: boolean; lengths?: boolean; onPost?: (body: string) => void },
) {
  const { isolated, lengths = true, onPost } = options;
  /** Files whose second half waits for a promise. */
  const halves = new Map<string, Promise<void>>();
  const server = createServer(async (request, response) => {
    if (request.method === 'POST') onPost?.(await text(request));
    const { pathname } = new URL(request.url!, 'http://localhost');
    const path = join(folder, normalize(pathname.endsWith('/') ? `${pathname}index.html` : pathname));
    const size = await stat(path).then(
      (file) => file.size,
      () => null,
    );
    response.writeHead(size === null ? 404 : 200, {
      'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
      ...(size && lengths && { 'content-length': size }),
      ...(isolated && ISOLATED),
    });
    if (!size) return response.end();
    const wait = [...halves].find(([name]) => path.endsWith(name))?.[1];
    const middle = wait ? Math.floor(size / 2) : 0;
    if (wait) {
      for await (const chunk of createReadStream(path, { end: middle - 1 })) response.write(chunk);
      await wait;
    }
    createReadStream(path, { start: middle }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, halves, close };
}

/**
 * A server of answers.
 *
 *   PORT=8000 MODEL=weights/minilm-l6-qa npx node examples/server.ts
 *   curl localhost:8000/answer -d '{"question": "Who came?", "context": "Ada came to town in 1843."}'
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { BertletError, load } from 'bertlet';

const { PORT = 8000, MODEL = 'weights/minilm-l6-qa', MAX_QUEUE = 32, MAX_BYTES = 4_000_000 } = process.env;
const qa = await load(MODEL, { maxQueue: Number(MAX_QUEUE) });
const STATUS: Partial<Record<string, number>> = { input: 400, busy: 503 }; // anything else is this server's fault: 500

const server = createServer(async (request, response) => {
  const reply = (status: number, body: unknown) =>
    response.writeHead(status, { 'content-type': 'application/json', 'retry-after': '1' }).end(JSON.stringify(body));
  if (request.url === '/health') return reply(200, qa.info);
  if (request.method !== 'POST' || request.url !== '/answer') return reply(404, { error: 'POST /answer, GET /health' });
  if (Number(request.headers['content-length'] ?? Infinity) > Number(MAX_BYTES)) {
    return reply(413, { error: `at most ${MAX_BYTES} bytes, with content-length` });
  }
  const gone = new AbortController(); // ends the answer when the client goes
  response.on('close', () => gone.abort());
  try {
    reply(200, await qa.answer({ ...JSON.parse(await text(request)), signal: gone.signal }));
  } catch (error) {
    if (gone.signal.aborted) return;
    const code = error instanceof BertletError ? error.code : error instanceof SyntaxError ? 'input' : '';
    reply(STATUS[code] ?? 500, { code, error: (error as Error).message });
  }
});

server.listen(PORT, () => console.log(`http://localhost:${(server.address() as AddressInfo).port}`));
process.once('SIGTERM', () => server.close(() => qa.dispose()));

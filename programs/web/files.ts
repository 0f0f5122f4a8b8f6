/** Where the worker finds a model's files. Those of the embedded model are kept by the browser: the next visit needs no network for them. */
import { blobs, type Files, site } from '../../src/index.ts';
import { PAGE_FILES } from './model.ts';
import type { Model } from './protocol.ts';

/** The service worker knows this name, and removes what an older version of the page has left. */
const storeName = (url: string) => `bertlet ${new URL('../../', url).pathname} models`;

/** Fetches a file once. A browser that may keep nothing, or has no room, fetches it each time. */
async function fetchOnce(url: string, init: RequestInit): Promise<Response> {
  if (!PAGE_FILES.some((name) => url.endsWith(`/${name}`))) return new Response(null, { status: 404 });
  const store = await globalThis.caches?.open(storeName(new URL('.', url).href)).catch(() => null);
  const kept = await store?.match(url).catch(() => undefined);
  if (kept) return kept;
  const response = await fetch(url, init);
  if (store && response.status === 200) store.put(url, response.clone()).catch(() => {});
  return response;
}

/** The files of a model: the page's own by their address, a model of the Hub by its name, or those that were dropped. */
export function filesOf(model: Model): string | Files {
  if (typeof model !== 'string') return blobs(model);
  return /^https?:/.test(model) ? site(model, { fetch: fetchOnce }) : model;
}

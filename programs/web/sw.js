/**
 * The page without network. The page's files are kept when this worker is installed; the model's are kept by the page itself
 * (files.ts). Where the server cannot send the headers that threads need (GitHub Pages), this worker adds them, so that
 * from the second visit on there are threads.
 */
/** Filled in by the build (vite.config.ts). */
const { version, files, models, headers } = __BUILD__;
/** Each folder of a host has caches of its own: another deployment's are not this one's to delete. */
const FOLDER = new URL('./', location).pathname;
const PAGE = `bertlet ${FOLDER} page ${version}`;
const KEPT = `bertlet ${FOLDER} models`;
const isOfModel = (url) => models.some((model) => url.includes(`/${model}/`));

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches.open(PAGE).then((cache) => cache.addAll(files.map((file) => new Request(file, { cache: 'reload' })))),
  );
});

self.addEventListener('activate', (event) => {
  const old = (name) => name.startsWith(`bertlet ${FOLDER} page `) && name !== PAGE;
  const remove = async () => {
    for (const name of (await caches.keys()).filter(old)) await caches.delete(name);
    const kept = await caches.open(KEPT);
    for (const { url } of await kept.keys()) if (!isOfModel(url)) await kept.delete(url);
    await self.clients.claim();
  };
  event.waitUntil(remove());
});

/** A visitor who reads that there is a new version need not close all tabs to have it. */
self.addEventListener('message', ({ data }) => {
  if (data === 'activate') self.skipWaiting();
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin || pathname.startsWith(`${FOLDER}models/`)) return;
  event.respondWith(answer(request));
});

/** From this version's files. A link has its texts behind the #, which is no part of the request. */
async function answer(request) {
  const page = await caches.open(PAGE);
  const kept = await page.match(request.mode === 'navigate' ? './' : request);
  const response = kept ?? (await fetch(request));
  if (!response.ok) return response;
  const { status, statusText, body } = response;
  const all = { ...Object.fromEntries(response.headers), ...headers };
  return new Response(body, { status, statusText, headers: all });
}

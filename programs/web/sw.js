/**
 * The page without network. The page's files are kept when this worker is installed, the model's when they are first
 * fetched. Where the server cannot send the headers that threads need (GitHub Pages), this worker adds them, so that
 * from the second visit on there are threads.
 */
/** Filled in by the build (vite.config.ts). */
const [VERSION, FILES, MODEL, MODEL_FILES] = ['__VERSION__', ['__FILES__'], '__MODEL__', ['__MODEL_FILES__']];
/** Each folder of a host has caches of its own: another deployment's are not this one's to delete. */
const FOLDER = new URL('./', location).pathname;
const PAGE = `bertlet ${FOLDER} page ${VERSION}`;
const MODELS = `bertlet ${FOLDER} models`;
const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches.open(PAGE).then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: 'reload' })))),
  );
});

self.addEventListener('activate', (event) => {
  const old = (name) => name.startsWith(`bertlet ${FOLDER} page `) && name !== PAGE;
  const remove = async () => {
    for (const name of (await caches.keys()).filter(old)) await caches.delete(name);
    const models = await caches.open(MODELS);
    for (const { url } of await models.keys()) if (!url.includes(`/${MODEL}/`)) await models.delete(url);
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
  if (request.method !== 'GET' || new URL(request.url).origin !== location.origin) return;
  event.respondWith(answer(event));
});

/** Of this version's files and of the models. A link has its texts behind the #, which is no part of the request. */
async function find(request) {
  const page = await caches.open(PAGE);
  const models = await caches.open(MODELS);
  return (await page.match(request.mode === 'navigate' ? './' : request)) ?? (await models.match(request));
}

/** Whether it is a file that models may have and the page's own has not: that is known without network, too. */
const isAbsent = ({ url }) => url.includes(`/${MODEL}/`) && !MODEL_FILES.some((file) => url.endsWith(`/${file}`));

async function answer(event) {
  const { request } = event;
  if (isAbsent(request)) return new Response(null, { status: 404 });
  const kept = await find(request);
  const response = kept ?? (await fetch(request));
  if (!response.ok) return response;
  if (!kept && request.url.includes('/models/')) {
    const copy = response.clone();
    // A full disk is no reason to fail: the model is fetched again the next time.
    event.waitUntil(
      caches
        .open(MODELS)
        .then((cache) => cache.put(request, copy))
        .catch(() => {}),
    );
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText, body } = response;
  return new Response(body, { status, statusText, headers });
}

/** The service worker (sw.js): keeps the page for the next visit, and says when there is a newer one. */

/** @param onUpdate told that a new version is ready, and what takes it */
export async function keepForOffline(onUpdate: (reload: () => void) => void): Promise<void> {
  if (!import.meta.env.PROD || !navigator.serviceWorker) return;
  const workers = navigator.serviceWorker;
  const registration = await workers.register('./sw.js').catch(() => null); // a private window may have none
  if (!registration) return;
  const offer = () => {
    const { waiting } = registration;
    if (!waiting || !workers.controller) return;
    onUpdate(() => {
      workers.addEventListener('controllerchange', () => location.reload(), { once: true });
      waiting.postMessage('activate');
    });
  };
  offer();
  registration.addEventListener('updatefound', () => registration.installing?.addEventListener('statechange', offer));
}

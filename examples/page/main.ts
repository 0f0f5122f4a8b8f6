/** A page that asks its worker. `npx vite examples/page` serves it, `npx vite build examples/page` makes files for a host. */
const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
const output = document.querySelector('output')!;
const form = document.querySelector('form')!;

worker.onmessage = ({ data }: MessageEvent<{ text: string }>) => {
  output.textContent = data.text;
};
form.onsubmit = (event) => {
  event.preventDefault();
  worker.postMessage(Object.fromEntries(new FormData(form)));
};

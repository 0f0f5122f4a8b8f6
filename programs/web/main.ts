/** The page: what is typed and chosen goes to the engine in its worker, what comes back is shown. */
import type { Info } from '../../src/index.ts';
import { mark, showAnswers } from './answer.ts';
import { byId, element, megabytes, milliseconds } from './dom.ts';
import { Engine, EngineError } from './engine.ts';
import { ARTICLE, EXAMPLES } from './examples.ts';
import { showExplanation } from './explanation.ts';
import { showTimings } from './measure.ts';
import { MODEL, MODEL_BYTES } from './model.ts';
import { inWords, missing } from './problems.ts';
import type { Machine, Model, Settings, Texts, Timing, Untimed } from './protocol.ts';

const engine = new Engine();
const [question, passage] = [byId<HTMLTextAreaElement>('question'), byId<HTMLTextAreaElement>('passage')];
const settingsForm = byId<HTMLFormElement>('settings');

const EMBEDDED = { source: new URL(MODEL, document.baseURI).href as Model, name: 'the embedded model' };
let wanted = EMBEDDED;
let loaded: { model: typeof EMBEDDED; settings: Settings; info: Info } | null = null;
/** The load under way, or the last one. */
let loading: Promise<boolean> = Promise.resolve(false);

const say = (text: string) => {
  byId('status').textContent = text;
};
const texts = (): Texts => ({ question: question.value, context: passage.value });

function settings(): Settings {
  const chosen = new FormData(settingsForm);
  return {
    device: chosen.get('device') as Settings['device'],
    dtype: chosen.get('dtype') as Settings['dtype'],
    scheme: (chosen.get('scheme') ?? 'torch') as Settings['scheme'],
    threads: Number(chosen.get('threads') ?? 1),
  };
}

/** Sets the form to what is in use. */
function reset({ device, dtype, scheme, threads }: Settings): void {
  for (const [name, value] of Object.entries({ device, dtype, scheme })) {
    (settingsForm.elements.namedItem(name) as RadioNodeList).value = value;
  }
  byId<HTMLSelectElement>('threads').value = String(threads);
  suit();
}

/** What cannot be chosen together is off: fp16 is the GPU's, scales are int8's, threads the CPU's. */
function suit(): void {
  const { device, dtype } = settings();
  const half = settingsForm.querySelector<HTMLInputElement>('[value=fp16]')!;
  half.disabled = device === 'cpu';
  if (half.disabled && dtype === 'fp16') (settingsForm.elements.namedItem('dtype') as RadioNodeList).value = 'int8';
  byId<HTMLFieldSetElement>('schemes').disabled = settings().dtype !== 'int8';
  byId<HTMLSelectElement>('threads').disabled = device === 'webgpu';
}

// ---------------------------------------------------------------------------------------------------------------------
// What is going on, and what went wrong

/** How to end what is under way; its bar and the button show after a moment, so that what is quick does not flicker. */
let cancel: (() => void) | null = null;
async function busy<T>(text: string, onCancel: () => void, run: () => Promise<T>): Promise<T> {
  say(text);
  const box = byId('error');
  if (box.contains(document.activeElement)) question.focus(); // its buttons go
  box.replaceChildren();
  byId<HTMLProgressElement>('bar').removeAttribute('value');
  cancel = onCancel;
  const timer = setTimeout(() => {
    byId('progress').hidden = false;
  }, 200);
  try {
    return await run();
  } finally {
    clearTimeout(timer);
    const button = byId('cancel');
    const focused = document.activeElement === button;
    if (cancel === onCancel) {
      cancel = null;
      byId('progress').hidden = true;
    }
    if (focused) question.focus();
  }
}
byId('cancel').addEventListener('click', () => cancel?.());

type Action = [name: string, run: () => void];
function showError(error: unknown, ...actions: Action[]): void {
  if (error instanceof EngineError && error.code === 'cancelled') return;
  const { title, text } = inWords(error);
  const buttons = actions.map(([name, run]) => element('button', { type: 'button', click: run }, name));
  say('');
  const box = byId('error');
  box.replaceChildren(
    element(
      'div',
      {},
      element('strong', {}, title),
      element('p', {}, text),
      element('div', { class: 'buttons' }, ...buttons),
    ),
  );
  box.scrollIntoView({ block: 'nearest' });
}

/** Ways out of an error, those that make sense now. */
function waysOut(again: Action): Action[] {
  const ways: Action[] = [again];
  if (settings().device !== 'cpu') {
    const useCpu = () => {
      reset({ ...settings(), device: 'cpu' });
      void loadAndAsk();
    };
    ways.push(['Use the CPU', useCpu]);
  }
  if (wanted !== EMBEDDED) ways.push(['Use the embedded model', () => choose(EMBEDDED)]);
  return ways;
}

// ---------------------------------------------------------------------------------------------------------------------
// The model

const described = ({ device, threads, adapter, dtype, scheme }: Info): string => {
  const where = device === 'cpu' ? `the CPU, ${threads} ${threads === 1 ? 'thread' : 'threads'}` : `${adapter}`;
  const fine = scheme === 'accurate' ? ' with finer scales' : '';
  return `${where}, ${dtype}${fine}`;
};

/** Loads what is wanted as it is set. The model before stays in use until this one is there. */
function load(): Promise<boolean> {
  const [model, chosen] = [wanted, settings()];
  const size = model === EMBEDDED ? ` (${megabytes(MODEL_BYTES)}, kept for the next time)` : '';
  const stop = () => {
    loaded = null;
    engine.cancel();
    say('Cancelled. No model is loaded.');
    byId('error').replaceChildren(
      element('div', {}, element('button', { type: 'button', click: () => void loadAndAsk() }, 'Load the model')),
    );
  };
  const bar = byId<HTMLProgressElement>('bar');
  const run = async () => {
    const { info, milliseconds: took } = await engine.call(
      'load',
      { model: model.source, settings: chosen },
      (progress) => {
        if (progress.loaded < progress.total) bar.value = progress.loaded / progress.total;
        else bar.removeAttribute('value'); // it is being prepared now
      },
    );
    loaded = { model, settings: chosen, info };
    const reason = info.reason ? ` ${info.reason}.` : '';
    byId('runs-on').textContent =
      `Now: ${model.name} on ${described(info)}; ${megabytes(info.weightBytes)} of weights, loaded in ${milliseconds(took)}.${reason}`;
    byId('embedded').hidden = model === EMBEDDED;
    say(`Ready: ${model.name} on ${described(info)}.`);
    return true;
  };
  loading = busy(`Loading ${model.name}${size} …`, stop, run).catch((error) => {
    showError(error, ...waysOut(['Try again', () => void loadAndAsk()]));
    if (loaded && !(error instanceof EngineError && error.code === 'cancelled')) {
      wanted = loaded.model;
      reset(loaded.settings);
    }
    return false;
  });
  return loading;
}

async function loadAndAsk(): Promise<void> {
  if ((await load()) && question.value.trim()) await ask();
}

function choose(model: typeof EMBEDDED): void {
  wanted = model;
  void loadAndAsk();
}

// ---------------------------------------------------------------------------------------------------------------------
// A question

/** Whether there is something to read and to ask; otherwise it says what is missing. */
function complete(): boolean {
  const empty = [question, passage].find(({ value }) => !value.trim());
  for (const field of [question, passage]) {
    const what = field === question ? 'Type a question first.' : 'Type or paste a passage first.';
    byId(`${field.id}-problem`).textContent = field === empty ? what : '';
    field.setAttribute('aria-invalid', String(field === empty));
  }
  empty?.focus();
  return !empty;
}

/** Only the end of the worker ends a forward: the model is loaded again, from where it is kept. */
function cancelAndLoad(): void {
  engine.cancel();
  void load().then((ready) => ready && say('Cancelled. The model is loaded again.'));
}

async function ask(): Promise<void> {
  if (!complete()) return;
  await loading;
  if (!loaded && !(await load())) return;
  const asked = texts();
  try {
    const { answers, milliseconds: took } = await busy('Reading …', cancelAndLoad, () => engine.call('answer', asked));
    showAnswers(asked.context, answers);
    if (passage.value !== asked.context) mark(passage.value);
    say(`Answered in ${milliseconds(took)} on ${described(loaded!.info)}.`);
  } catch (error) {
    showError(error, ...waysOut(['Load the model again', () => void loadAndAsk()]));
  }
}

function fill({ question: text, context }: Texts): void {
  question.value = text;
  passage.value = context;
  mark(context);
}

byId('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  void ask();
});
passage.addEventListener('input', () => mark(passage.value));
question.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void ask();
});
passage.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void ask();
});
const examples = EXAMPLES.map(({ name, texts: example }) => {
  const click = () => {
    fill(example);
    void ask();
  };
  return element('button', { type: 'button', click }, name);
});
byId('examples').append(...examples);

// ---------------------------------------------------------------------------------------------------------------------
// Devices and models

settingsForm.addEventListener('change', () => {
  suit();
  void loadAndAsk();
});

byId('hub').addEventListener('submit', (event) => {
  event.preventDefault();
  const id = byId<HTMLInputElement>('id').value.trim();
  if (id) choose({ source: id, name: id });
});
byId('embedded').addEventListener('click', () => choose(EMBEDDED));

function chooseFiles(files: File[]): void {
  if (files.length === 0) return;
  const lack = missing(files.map(({ name }) => name));
  if (lack) showError(new EngineError('file', lack));
  else choose({ source: files, name: 'your model' });
}
const picker = byId<HTMLInputElement>('files');
picker.addEventListener('click', () => {
  picker.value = ''; // so that the same files can be chosen again
});
picker.addEventListener('change', () => chooseFiles([...picker.files!]));
for (const type of ['dragover', 'dragleave', 'drop'] as const) {
  addEventListener(type, (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    document.body.classList.toggle('dragged', type === 'dragover');
    if (type === 'drop') chooseFiles([...event.dataTransfer.files]);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// The benchmark

byId('measure').addEventListener('click', async () => {
  if (!complete()) return;
  await loading;
  const lines: (Timing | Untimed)[] = [];
  const input = { model: (loaded?.model ?? EMBEDDED).source, threads: settings().threads, texts: texts() };
  const heard = (progress: Timing | Untimed | string) => {
    if (typeof progress !== 'string') lines.push(progress);
    showTimings(lines, typeof progress === 'string' ? progress : null);
  };
  let stopped = false;
  const stop = () => {
    stopped = true;
    engine.stop();
  };
  try {
    await busy('Measuring: this takes up to half a minute …', stop, () => engine.call('measure', input, heard));
    say(stopped ? 'Stopped.' : 'Measured.');
  } catch (error) {
    showError(error);
  }
  showTimings(lines, null);
});

// ---------------------------------------------------------------------------------------------------------------------
// What quantization did

byId('explain').addEventListener('click', async () => {
  if (!complete()) return;
  await loading;
  const model = (loaded?.model ?? EMBEDDED).source;
  const bar = byId<HTMLProgressElement>('bar');
  const tell = (share: number) => {
    bar.value = share;
  };
  try {
    const run = () => engine.call('explain', { model, texts: texts() }, tell);
    const explanation = await busy('Comparing every layer in float and in int8 …', cancelAndLoad, run);
    showExplanation(explanation);
    say('Compared: see “What quantization did”.');
  } catch (error) {
    showError(error);
  }
});

// ---------------------------------------------------------------------------------------------------------------------
// Start

function showMachine({ cores, isolated, gpu }: Machine): void {
  const select = byId<HTMLSelectElement>('threads');
  const most = isolated ? cores : 1;
  select.append(...Array.from({ length: most }, (_, i) => element('option', { value: i + 1 }, String(i + 1))));
  select.value = String(most);
  const reload = 'Reload the page: its service worker adds them.';
  const serve = 'Serve the page with COOP: same-origin and COEP: require-corp to use all cores.';
  const hints = [
    !isolated &&
      `One thread only: this server does not send the headers that threads need. ${navigator.serviceWorker?.controller ? reload : serve}`,
    !gpu && 'WebGPU: this browser has none, or finds no GPU for it.',
    gpu?.software && `WebGPU: ${gpu.label} computes on the CPU, and is slower than the CPU itself.`,
    'fp16 is for WebGPU.',
  ].filter((hint) => typeof hint === 'string');
  byId('hints').replaceChildren(...hints.map((hint) => element('li', {}, hint)));
}

/** Waits a moment for the service worker, so that it sees the model go by and keeps it. */
async function keepForOffline(): Promise<void> {
  if (!import.meta.env.PROD || !navigator.serviceWorker) return;
  const controlled = new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve));
  await navigator.serviceWorker.register('./sw.js').catch(() => {}); // a private window may have none
  const patience = new Promise((resolve) => setTimeout(resolve, 2000));
  if (!navigator.serviceWorker.controller) await Promise.race([controlled, patience]);
}

suit();
fill(ARTICLE);
try {
  await keepForOffline();
  showMachine(await engine.call('machine', null));
  suit();
  await loadAndAsk();
} catch (error) {
  showError(error, ['Reload the page', () => location.reload()]);
}

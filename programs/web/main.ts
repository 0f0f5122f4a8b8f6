/** The page: what is typed and chosen goes to the engine in its worker, what comes back is shown. */
import type { Info } from '../../src/index.ts';
import { mark, percent, showAnswers } from './answer.ts';
import { byId, element, megabytes, milliseconds } from './dom.ts';
import { Engine, EngineError } from './engine.ts';
import { ARTICLE, EXAMPLES } from './examples.ts';
import { NAMES, showExplanation } from './explanation.ts';
import { fromLink, keep, keepAsked, kept, linkTo } from './kept.ts';
import { showTimings } from './measure.ts';
import { bytesOf, MODEL, MODEL_BYTES } from './model.ts';
import { keepForOffline } from './offline.ts';
import { type Cure, cures, inWords, missing } from './problems.ts';
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

/** Sets some of it to something else, and loads that. */
function change(some: Partial<Settings>): void {
  reset({ ...settings(), ...some });
  void loadAndAsk();
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

/** Ends what is under way; its bar and the button show after a moment, so that what is quick does not flicker. */
let cancel: (() => void) | null = null;
async function busy<T>(text: string, onCancel: () => void, run: () => Promise<T>): Promise<T> {
  say(text);
  const box = byId('error');
  if (box.contains(document.activeElement)) question.focus(); // its buttons go
  box.replaceChildren();
  showStep('');
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

/** How far it is, beside the status and not in it: a screen reader need not read each step. */
function showStep(text: string, share?: number): void {
  const bar = byId<HTMLProgressElement>('bar');
  if (share === undefined) bar.removeAttribute('value');
  else bar.value = share;
  byId('step').textContent = text;
}

type Action = [name: string, run: () => void];
const isCancelled = (error: unknown) => error instanceof EngineError && error.code === 'cancelled';
function showError(error: unknown, ...actions: Action[]): void {
  if (isCancelled(error)) return;
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
function waysOut(error: unknown, again: Action): Action[] {
  const ways: Record<Cure, Action> = {
    again,
    question: ['Edit the question', () => question.focus()],
    passage: ['Edit the passage', () => passage.focus()],
    int8: ['Use int8', () => change({ dtype: 'int8' })],
    'one thread': ['Use one thread', () => change({ threads: 1 })],
    cpu: ['Use the CPU', () => change({ device: 'cpu' })],
    embedded: ['Use the embedded model', () => choose(EMBEDDED)],
  };
  return cures(error, settings(), { embedded: wanted === EMBEDDED }).map((cure) => ways[cure]);
}

// ---------------------------------------------------------------------------------------------------------------------
// The model

const described = ({ device, threads, adapter, dtype, scheme }: Info): string => {
  const where = device === 'cpu' ? `the CPU, ${threads} ${threads === 1 ? 'thread' : 'threads'}` : `${adapter}`;
  return `${where}, ${dtype === 'int8' && scheme ? NAMES[scheme] : dtype}`;
};

/** Loads what is wanted as it is set. The model before stays in use until this one is there. */
function load(): Promise<boolean> {
  const [model, chosen] = [wanted, settings()];
  const size = model === EMBEDDED ? ` (${megabytes(MODEL_BYTES)}, kept for the next time)` : '';
  const before = loaded;
  const stop = () => {
    loaded = null;
    engine.end();
    if (before) return back(before);
    say('Cancelled. No model is loaded.');
    const again = element('button', { type: 'button', click: () => void loadAndAsk() }, 'Load the model');
    byId('error').replaceChildren(element('div', {}, again));
  };
  const tell = ({ file, ...bytes }: { file: string; loaded: number; total: number }) => {
    const total = Math.max(bytes.total, model === EMBEDDED ? bytesOf(file) : 0);
    if (bytes.loaded < total) showStep(`${megabytes(bytes.loaded)} of ${megabytes(total)}`, bytes.loaded / total);
    else showStep(''); // it is being prepared now
  };
  const run = async () => {
    const { info, milliseconds: took } = await engine.call('load', { model: model.source, settings: chosen }, { tell });
    loaded = { model, settings: chosen, info };
    const reason = info.reason ? ` ${info.reason}.` : '';
    byId('runs-on').textContent =
      `Now: ${model.name} on ${described(info)}; ${megabytes(info.weightBytes)} of weights, loaded in ${milliseconds(took)}.${reason}`;
    byId('embedded').hidden = model === EMBEDDED;
    say(`Ready: ${model.name} on ${described(info)}.`);
    return true;
  };
  loading = busy(`Loading ${model.name}${size} …`, stop, run).catch((error) => {
    showError(error, ...waysOut(error, ['Try again', () => void loadAndAsk()]));
    if (loaded && !isCancelled(error)) {
      wanted = loaded.model;
      reset(loaded.settings);
    }
    return false;
  });
  return loading;
}

/** To the model that was in use before a load that was cancelled: it is loaded again from where it is kept. */
function back({ model, settings: before }: NonNullable<typeof loaded>): void {
  wanted = model;
  reset(before);
  void load().then((ready) => ready && say(`Cancelled. Ready as before: ${model.name}.`));
}

async function loadAndAsk(): Promise<void> {
  if ((await load()) && question.value.trim() && passage.value.trim()) await ask();
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

/** The question under way: the next one takes its place. */
let asking: AbortController | null = null;
/** What was asked last and answered. */
let answered: Texts | null = null;

async function ask(): Promise<void> {
  if (!complete()) return;
  asking?.abort();
  const own = new AbortController();
  asking = own;
  const { signal } = own;
  await loading;
  if (!loaded && !(await load())) return;
  if (signal.aborted) return;
  const asked = texts();
  const tell = ({ done, total }: { done: number; total: number }) => {
    if (asking === own && done < total) showStep(`window ${done + 1} of ${total}`, done / total);
  };
  byId('result').classList.add('old');
  try {
    const run = () => engine.call('answer', asked, { tell, signal });
    const { answers, milliseconds: took } = await busy('Reading …', () => own.abort(), run);
    if (asking !== own) return; // another question was faster
    answered = asked;
    showAnswers(asked.context, answers);
    if (passage.value !== asked.context) mark(passage.value);
    say(`Answered in ${milliseconds(took)} on ${described(loaded!.info)}.`);
    keepAsked(asked);
    showAsked();
  } catch (error) {
    if (asking === own && isCancelled(error)) say('Cancelled. The model is still loaded.');
    showError(error, ...waysOut(error, ['Load the model again', () => void loadAndAsk()]));
  }
}

/** Asks, and goes to where the answer is: on a phone it is below the passage. */
async function askAndShow(): Promise<void> {
  await ask();
  const result = byId('result');
  const { top, bottom, height } = result.getBoundingClientRect();
  if (height > 0 && (top < 0 || bottom > innerHeight)) result.scrollIntoView();
}

function fill({ question: text, context }: Texts): void {
  question.value = text;
  passage.value = context;
  mark(context);
}

byId('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  void askAndShow();
});
for (const field of [question, passage]) {
  field.addEventListener('input', () => byId('result').classList.add('old'));
}
passage.addEventListener('input', () => mark(passage.value));
question.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void askAndShow();
});
passage.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void askAndShow();
});

/** A button that fills the fields and asks. */
function asks(name: string, filled: Texts): HTMLElement {
  const click = () => {
    fill(filled);
    void askAndShow();
  };
  return element('button', { type: 'button', click }, name);
}
byId('examples').append(...EXAMPLES.map(({ name, texts: example }) => asks(name, example)));

/** The last questions that are no examples. */
function showAsked(): void {
  const isOwn = (one: Texts) => !EXAMPLES.some(({ texts: { question: text } }) => text === one.question);
  const own = kept().asked.filter(isOwn);
  const forget = () => {
    keep({ asked: [] });
    showAsked();
    question.focus();
  };
  const buttons = own.map((one) => asks(one.question, one));
  byId('asked').replaceChildren(
    ...buttons,
    element('button', { type: 'button', class: 'plain', click: forget }, 'Forget'),
  );
  byId('last').hidden = own.length === 0;
}

async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}.`);
  } catch {
    prompt(`Copy ${what}:`, text); // not over plain HTTP, and not if the browser refuses
  }
}
byId('copy').addEventListener(
  'click',
  () => void copy(byId('answer').querySelector('.text')!.textContent!, 'the answer'),
);
byId('link').addEventListener(
  'click',
  () => answered && void copy(linkTo(answered), 'a link with question and passage'),
);

addEventListener('hashchange', () => {
  const linked = fromLink();
  if (!linked) return;
  fill(linked);
  void askAndShow();
});
// A phone may end a page that is hidden without another event.
addEventListener('pagehide', () => keep({ texts: texts() }));
addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && keep({ texts: texts() }));

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
  const stop = new AbortController();
  const { signal } = stop;
  try {
    const run = () => engine.call('measure', input, { tell: heard, signal });
    await busy('Measuring: this takes up to half a minute …', () => stop.abort(), run);
    say(signal.aborted ? 'Stopped.' : 'Measured.');
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
  const stop = new AbortController();
  const { signal } = stop;
  const tell = (share: number) => showStep(percent(share), share);
  try {
    const run = () => engine.call('explain', { model, texts: texts() }, { tell, signal });
    const explanation = await busy('Comparing every layer in float and in int8 …', () => stop.abort(), run);
    showExplanation(explanation);
    say('Compared: see “What quantization did”.');
  } catch (error) {
    if (isCancelled(error)) say('Cancelled.');
    showError(error, ...waysOut(error, ['Try again', () => byId('explain').click()]));
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
  ].filter((hint) => typeof hint === 'string');
  byId('hints').replaceChildren(...hints.map((hint) => element('li', {}, hint)));
}

function showUpdate(reload: () => void): void {
  byId('update').replaceChildren(
    'There is a newer version of this page. ',
    element('button', { type: 'button', click: reload }, 'Take it'),
  );
}

suit();
fill(fromLink() ?? kept().texts ?? ARTICLE);
showAsked();
try {
  await keepForOffline(showUpdate);
  showMachine(await engine.call('machine', null));
  suit();
  await loadAndAsk();
} catch (error) {
  showError(error, ['Reload the page', () => location.reload()]);
}

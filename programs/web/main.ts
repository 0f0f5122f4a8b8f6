/** The page: what is typed and chosen goes to the engine in its worker, what comes back is shown. */
import type { Answer, Info } from '../../src/index.ts';
import { setStale, showAnswers } from './answer.ts';
import { busy, say, showStep } from './busy.ts';
import { button, byId, counted, element, megabytes, milliseconds } from './dom.ts';
import { call, EngineError } from './engine.ts';
import { ARTICLE, EXAMPLES } from './examples.ts';
import { NAMES, showExplanation } from './explanation.ts';
import { fromLink, keep, keepAsked, kept, linkTo, remember, textsOf } from './kept.ts';
import { showTimings } from './measure.ts';
import { FLOAT16, INT8 } from './model.ts';
import { keepForOffline } from './offline.ts';
import { fill, growQuestion, mark, passage, question, select, texts } from './passage.ts';
import { type Cure, checkFiles, cures, inWords, withoutTicks } from './problems.ts';
import type { Model, Settings, Texts, Timing, Untimed } from './protocol.ts';
import { percent } from './spans.ts';
import { areOfModel, textOfFile } from './textFile.ts';

const settingsForm = byId<HTMLFormElement>('settings');
const onClick = (id: string, run: () => unknown) => byId(id).addEventListener('click', run);

interface Chosen {
  name: string;
  /** Null: the embedded model, which has a file for each kind of numbers. */
  source: Model | null;
}
const EMBEDDED: Chosen = { name: 'the embedded model', source: null };
let wanted = EMBEDDED;
let loaded: { model: Chosen; settings: Settings; info: Info } | null = null;
/** The load under way, or the last one. */
let loading: Promise<boolean> = Promise.resolve(false);

/** The embedded model's file for these settings: int8 as the page rounds it is a smaller one. */
const fileFor = ({ dtype, scheme }: Settings) => (dtype === 'int8' && scheme === 'accurate' ? INT8 : FLOAT16);
const addressOf = ({ address }: { address: string }): Model => new URL(address, document.baseURI).href;

/** Settings of the form, which leaves out what is disabled. */
function settings(): Settings {
  const { threads = 1, ...chosen } = Object.fromEntries(new FormData(settingsForm));
  return { scheme: 'torch', ...chosen, threads: Number(threads) } as Settings;
}

/** Sets the form to what is in use. */
function reset(used: Settings): void {
  for (const [name, value] of Object.entries(used)) {
    (settingsForm.elements.namedItem(name) as RadioNodeList | HTMLSelectElement).value = String(value);
  }
  suit();
}

/** Sets some of it to something else, and loads that. */
function change(some: Partial<Settings>): void {
  reset({ ...settings(), ...some });
  void loadAndAsk(settingsForm);
}

/** Disables choices that do not go together: fp16 is the GPU's, scales are int8's, threads the CPU's. */
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

/** A button: its text, and what it does. */
type Action = [name: string, run: () => void];

/** Shows an error and ways out of it. */
function showError(error: unknown, actions: Action[] = []): void {
  const { title, text } = inWords(error);
  say('');
  showProblem(element('strong', {}, title), element('p', {}, text), buttons(actions));
}
const buttons = (actions: Action[]) =>
  element('div', { class: 'buttons' }, ...actions.map(([name, run]) => button(name, run)));
function showProblem(...parts: HTMLElement[]): void {
  byId('error').replaceChildren(element('div', {}, ...parts));
  byId('error').scrollIntoView({ block: 'nearest' });
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
    embedded: ['Use the embedded model', () => choose(EMBEDDED, null)],
  };
  return cures(error, settings(), { embedded: wanted === EMBEDDED }).map((cure) => ways[cure]);
}

const REPLACED = 'another question or model takes its place';

/**
 * Runs calls of the engine, which the visitor can cancel, and says what goes wrong. Returns whether all are done.
 * @param how `beside` is what was pressed; `again`, a way out of an error; `cancelled`, the status after that
 */
async function work(
  text: string,
  how: { beside: Element | null; again: Action; cancelled: string; stop?: AbortController },
  run: (signal: AbortSignal) => Promise<void>,
): Promise<boolean> {
  const { beside, again, cancelled, stop = new AbortController() } = how;
  try {
    await busy(text, beside, stop, run);
    return true;
  } catch (error) {
    if (!(error instanceof EngineError && error.code === 'cancelled')) showError(error, waysOut(error, again));
    else if (stop.signal.reason !== REPLACED) say(cancelled);
    return false;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The model

const described = ({ device, threads, adapter, dtype, scheme }: Info): string => {
  const where = device === 'cpu' ? `the CPU, ${counted(threads!, 'thread')}` : adapter;
  return `${where}, ${scheme ? NAMES[scheme] : dtype}`;
};

/**
 * Loads what is wanted as it is set. The model before stays in use until this one is there, and where there will be none.
 * @param beside what was pressed
 */
function load(beside: Element | null): Promise<boolean> {
  const [model, chosen] = [wanted, settings()];
  const own = model.source === null ? fileFor(chosen) : null;
  const size = own ? ` (${megabytes(own.bytes)}, kept for the next time)` : '';
  const tell = ({ file, ...bytes }: { file: string; loaded: number; total: number }) => {
    const total = Math.max(bytes.total, file === 'model.safetensors' ? (own?.bytes ?? 0) : 0); // a server may not say
    if (bytes.loaded < total) showStep(`${megabytes(bytes.loaded)} of ${megabytes(total)}`, bytes.loaded / total);
    else showStep(''); // it is being prepared now
  };
  const run = async (signal: AbortSignal) => {
    const input = { model: model.source ?? addressOf(own!), settings: chosen };
    const { info, milliseconds: took } = await call('load', input, { tell, signal });
    loaded = { model, settings: chosen, info };
    const reason = info.reason ? ` ${withoutTicks(info.reason)}.` : '';
    byId('runs-on').textContent = `Now: ${model.name} on ${described(info)}, loaded in ${milliseconds(took)}.${reason}`;
    byId('embedded').hidden = model === EMBEDDED;
    say(`Ready: ${model.name} on ${described(info)}.`);
  };
  const again = () => void loadAndAsk(beside);
  const how = {
    beside,
    again: ['Try again', again] as Action,
    cancelled: loaded ? `Cancelled. Ready as before: ${loaded.model.name}.` : 'Cancelled. No model is loaded.',
  };
  setStale(true);
  loading = work(`Loading ${model.name}${size} …`, how, run).then((done) => {
    if (!done && loaded) {
      wanted = loaded.model;
      reset(loaded.settings);
    } else if (!done && !byId('error').hasChildNodes()) {
      showProblem(buttons([['Load the model', again]]));
    }
    return done;
  });
  return loading;
}

async function loadAndAsk(beside: Element | null): Promise<void> {
  asking.abort(REPLACED);
  if ((await load(beside)) && question.value.trim() && passage.value.trim()) await ask(beside);
}

function choose(model: Chosen, beside: Element | null): void {
  wanted = model;
  void loadAndAsk(beside);
}

// ---------------------------------------------------------------------------------------------------------------------
// A question

/** Whether there is something to read and to ask; otherwise the browser says what is missing. */
function complete(): boolean {
  question.setCustomValidity(question.value.trim() ? '' : 'Type a question first.');
  passage.setCustomValidity(passage.value.trim() ? '' : 'Type or paste a passage first.');
  return byId<HTMLFormElement>('ask').reportValidity();
}

/** Ends the question under way, and then the measurement of the line below the title. */
let asking = new AbortController();
/** The question that was asked last and answered. */
let answered: (Texts & { best: Answer }) | null = null;

/** @param beside what was pressed */
async function ask(beside: Element | null): Promise<void> {
  if (!complete()) return;
  asking.abort(REPLACED);
  const stop = new AbortController();
  asking = stop;
  await loading;
  if (!loaded && !(await load(beside))) return;
  if (stop.signal.aborted) return;
  const asked = texts();
  const tell = ({ done, total }: { done: number; total: number }) => {
    if (asking === stop && done < total) showStep(`window ${done + 1} of ${total}`, done / total);
  };
  const run = async (signal: AbortSignal) => {
    const { answers, windows, milliseconds: took } = await call('answer', asked, { tell, signal });
    if (asking !== stop) return; // another question was faster
    answered = { ...asked, best: answers[0] };
    showAnswers(asked.context, answers, windows);
    const now = texts();
    if (now.context !== asked.context) mark(now.context);
    setStale(now.context !== asked.context || now.question !== asked.question);
    say(`Answered in ${milliseconds(took)} on ${described(loaded!.info)}.`);
    keepAsked(asked);
    remember(asked);
    showAsked();
    showPace(signal).catch(() => {}); // a line less
  };
  setStale(true);
  const again: Action = ['Load the model again', () => void loadAndAsk(beside)];
  await work('Reading …', { beside, stop, again, cancelled: 'Cancelled. The model is still loaded.' }, run);
}

/** Says how fast int8 and float32 are here, once, when nobody has waited for anything for a second. */
async function showPace(signal: AbortSignal): Promise<void> {
  const { threads } = loaded!.info;
  if (threads === undefined || byId('pace').textContent !== '') return; // a GPU's model: its line would be another
  await new Promise((resolve) => setTimeout(resolve, 1000));
  if (signal.aborted) return;
  const { int8, fp32 } = await call('pace', { model: addressOf(INT8), threads, texts: ARTICLE }, { signal });
  byId('pace').textContent =
    `Measured here: int8 ${milliseconds(int8)}, float32 ${milliseconds(fp32)}, on ${counted(threads, 'thread')} of this CPU.`;
}

/** Asks, and goes to where the answer is: on a phone it is below the passage. */
async function askAndShow(beside: Element | null): Promise<void> {
  await ask(beside);
  const result = byId('result');
  const { top, bottom, height } = result.getBoundingClientRect();
  if (height > 0 && (top < 0 || bottom > innerHeight)) result.scrollIntoView();
}

byId('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  void askAndShow(question);
});
question.addEventListener('input', growQuestion);
passage.addEventListener('input', () => mark(passage.value));
for (const field of [question, passage]) {
  field.addEventListener('input', () => setStale(true));
  field.addEventListener('keydown', (event) => {
    const asks = field === question ? !event.shiftKey : event.ctrlKey || event.metaKey; // others begin a line
    if (event.key !== 'Enter' || !asks || event.isComposing) return;
    event.preventDefault();
    void askAndShow(field);
  });
}

/** Fills the fields, if there is something to fill them with, and asks. */
function refill(filled: Texts | null, beside: Element | null): void {
  if (!filled) return;
  fill(filled);
  void askAndShow(beside);
}
const asks = (name: string, filled: Texts): HTMLElement =>
  button(name, ({ currentTarget }) => refill(filled, currentTarget as Element), { dir: 'auto' });
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
  const again = own.map((one) => asks(one.question, one));
  byId('asked').replaceChildren(...again, button('Forget', forget, { class: 'plain' }));
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
onClick('copy', () => answered && copy(answered.best.text, 'the answer'));
onClick('show', () => answered && select(answered.best));
onClick('link', () => answered && copy(linkTo(answered), 'a link with question and passage'));

addEventListener('hashchange', () => refill(fromLink(), null));
addEventListener('popstate', ({ state }) => refill(textsOf(state), null));
// A phone may end a page that is hidden without another event.
addEventListener('pagehide', () => keep({ texts: texts() }));
addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && keep({ texts: texts() }));

// ---------------------------------------------------------------------------------------------------------------------
// Devices and models

settingsForm.addEventListener('change', () => {
  suit();
  void loadAndAsk(settingsForm);
});

byId('hub').addEventListener('submit', (event) => {
  event.preventDefault();
  const id = byId<HTMLInputElement>('id').value.trim();
  if (id) choose({ source: id, name: id }, byId('hub'));
});
onClick('embedded', () => choose(EMBEDDED, byId('embedded')));

async function takeModel(files: File[], beside: Element | null): Promise<void> {
  checkFiles(files.map(({ name }) => name));
  choose({ source: files, name: 'your model' }, beside);
}

/** A text becomes the passage. */
async function takeText([file]: File[]): Promise<void> {
  fill({ question: question.value, context: await textOfFile(file!) });
  setStale(true);
  byId('error').replaceChildren();
  say(`${file!.name} is the passage now.`);
}

/** Files that were dropped: those of a model, or one text. */
async function take(files: File[]): Promise<void> {
  const names = files.map(({ name }) => name);
  if (areOfModel(names)) return takeModel(files, null);
  if (files.length === 1) return takeText(files);
  throw new EngineError('file', `files: expected one text, or the files of a model, got ${names.join(', ')}.`);
}

/** Has something take the files that are chosen; the same ones can be chosen again. */
function onChosen(picker: HTMLInputElement, take: (files: File[]) => Promise<void>): void {
  picker.addEventListener('click', () => {
    picker.value = '';
  });
  picker.addEventListener('change', () => picker.files!.length > 0 && take([...picker.files!]).catch(showError));
}
const picker = byId<HTMLInputElement>('files');
onChosen(picker, (files) => takeModel(files, picker));
onChosen(byId<HTMLInputElement>('text'), takeText);
onClick('open', () => byId('text').click());
for (const type of ['dragover', 'dragleave', 'drop'] as const) {
  addEventListener(type, (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    document.body.classList.toggle('dragged', type === 'dragover');
    if (type === 'drop' && event.dataTransfer.files.length > 0) take([...event.dataTransfer.files]).catch(showError);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// The benchmark, and what quantization did

/** Has a button run something on what is asked, with the float weights of the model in use. */
function onRequest(
  id: string,
  { text, cancelled }: { text: string; cancelled: string },
  run: (input: { model: Model; texts: Texts }, signal: AbortSignal) => Promise<void>,
): void {
  const beside = byId(id);
  onClick(id, async () => {
    if (!complete()) return;
    await loading;
    const input = { model: loaded?.model.source ?? addressOf(FLOAT16), texts: texts() };
    const again: Action = ['Try again', () => beside.click()];
    await work(text, { beside, again, cancelled }, (signal) => run(input, signal));
  });
}

const measuring = { text: 'Measuring: this takes up to half a minute …', cancelled: 'Stopped.' };
onRequest('measure', measuring, async (input, signal) => {
  const lines: (Timing | Untimed)[] = [];
  const tell = (progress: Timing | Untimed | string) => {
    if (typeof progress !== 'string') lines.push(progress);
    showTimings(lines, typeof progress === 'string' ? progress : null);
  };
  const { threads } = settings();
  await call('measure', { ...input, threads }, { tell, signal }).finally(() => showTimings(lines, null));
  say('Measured.');
});

const comparing = { text: 'Comparing every layer in float and in int8 …', cancelled: 'Cancelled.' };
onRequest('explain', comparing, async (input, signal) => {
  const tell = (share: number) => showStep(percent(share), share);
  const explanation = await call('explain', input, { tell, signal });
  await showExplanation(explanation, (linear) => call('slide', { ...input, linear }));
  byId('explanation').scrollIntoView({ block: 'nearest' });
  say('Compared: see “What quantization did”.');
});

// ---------------------------------------------------------------------------------------------------------------------
// Start

/** Offers as many threads as there are cores, where memory can be shared. */
function showThreads(): void {
  const shared = typeof SharedArrayBuffer !== 'undefined'; // what the engine looks at
  const select = byId<HTMLSelectElement>('threads');
  const most = shared ? navigator.hardwareConcurrency : 1;
  select.append(...Array.from({ length: most }, (_, i) => element('option', { value: i + 1 }, String(i + 1))));
  select.value = String(most);
  if (shared) return;
  const isFirst = navigator.serviceWorker && !navigator.serviceWorker.controller;
  const reload = 'Reload the page: its service worker adds them.';
  const serve = 'Serve the page with COOP: same-origin and COEP: require-corp to use all cores.';
  const headers = `this server does not send the headers that threads need. ${isFirst ? reload : serve}`;
  showHint(`One thread only: ${crossOriginIsolated ? 'this browser has no memory that threads can share.' : headers}`);
}

async function showGpu(): Promise<void> {
  const gpu = await call('gpu', null);
  if (!gpu) showHint('WebGPU: this browser has none, or finds no GPU for it.');
  if (gpu?.software) showHint(`WebGPU: ${gpu.label} computes on the CPU, and is slower than the CPU itself.`);
}
const showHint = (text: string) => byId('hints').append(element('li', {}, text));

suit();
fill(fromLink() ?? kept().texts ?? ARTICLE);
showAsked();
showThreads();
await loadAndAsk(null);
void keepForOffline((reload) =>
  byId('update').replaceChildren('There is a newer version of this page. ', button('Take it', reload)),
);
showGpu().catch((error) => showError(error, [['Reload the page', () => location.reload()]]));

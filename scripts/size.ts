/**
 * `npm run size`: code lines of each file (neither blank nor comment), of each room against its cap, of all that a reader
 * meets from question to answer, and the longest function. Writes the sums into README.md. With `--check` it fails where a
 * cap is exceeded or README's figures are not today's.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, matchesGlob, relative } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';

const ROOT = join(import.meta.dirname, '..');
/** The rooms, and the most code lines of each. Caps only fall: what does not fit removes something in its room first. */
const ROOMS: { name: string; files: string[]; cap: number }[] = [
  { name: 'engine core', files: ['src/{runtime,bert,quantize}.ts', 'src/devices/reference.ts'], cap: 830 },
  {
    name: 'questions, doors',
    files: ['src/{qa,queue,spans,index,tensor,errors,options,platform,float16}.ts'],
    cap: 696,
  },
  { name: 'text', files: ['src/text/*.ts'], cap: 624 },
  { name: 'pickles', files: ['src/checkpoint/pytorch.ts'], cap: 224 },
  { name: 'checkpoint', files: ['src/checkpoint/*.ts'], cap: 658 },
  { name: 'files, Hub', files: ['src/files/*.ts'], cap: 510 },
  { name: 'webgpu', files: ['src/devices/webgpu/*.ts', 'kernels/*.wgsl'], cap: 1111 },
  { name: 'devices, cpu', files: ['src/devices/*.ts', 'src/devices/cpu/*.ts', 'kernels/*.wasm.ts'], cap: 2082 },
  { name: 'op table', files: ['kernels/*.ts'], cap: 394 },
];
/** The most code lines of all rooms together, of the way from question to answer, and of one function. */
const [ALL, CLOSURE, FUNCTION] = [7129, 1479, 57];
/** The most code lines of what stands beside src and kernels. */
const BESIDE = { bench: 2715, programs: 4352, scripts: 1099 };
/** From question to answer on the reference device: these files, and what they import. */
const PATH = ['text/tokenizer', 'text/wordpiece', 'qa', 'devices/reference'].map((name) => `src/${name}.ts`);

interface File {
  path: string;
  lines: number;
  imports: string[];
  /** Imports of types as well. */
  all: string[];
  longest: { name: string; lines: number };
}

/** Code lines between two offsets: what is left when comments are blanked. */
const codeLines = (text: string, start = 0, end = text.length): number =>
  text
    .slice(start, end)
    .split('\n')
    .filter((line) => line.trim() !== '').length;

function measure(path: string): File {
  if (path.endsWith('.wgsl')) return measureWgsl(path);
  // AssemblyScript's decorators of functions are no TypeScript: they are blanked for the parser.
  const source = readFileSync(join(ROOT, path), 'utf8').replace(/^@inline$/gm, '       ');
  const { program, comments, module } = parseSync(path, source);
  let text = source;
  for (const { start, end } of comments) {
    text = text.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + text.slice(end);
  }
  let longest = { name: '', lines: 0 };
  const visit = (node: { start: number; end: number; id?: { name: string } | null }) => {
    const lines = codeLines(text, node.start, node.end);
    const name = node.id?.name ?? text.slice(0, node.start).split('\n').at(-1)!.trim().replace(/\W+$/, '');
    if (lines > longest.lines) longest = { name, lines };
  };
  new Visitor({
    FunctionDeclaration: visit as never,
    FunctionExpression: visit as never,
    ArrowFunctionExpression: visit as never,
  }).visit(program);
  const requests = (some: { moduleRequest: { value: string } | null }[]) =>
    some
      .flatMap(({ moduleRequest }) => moduleRequest?.value ?? [])
      .filter((request) => request.startsWith('.'))
      .map((request) => relative(ROOT, join(ROOT, dirname(path), request)));
  const { staticImports, staticExports } = module;
  const imports = requests(
    staticImports.filter(({ entries }) => entries.length === 0 || entries.some(({ isType }) => !isType)),
  );
  const all = requests([...staticImports, ...staticExports.flatMap(({ entries }) => entries)]);
  return { path, lines: codeLines(text), imports, all, longest };
}

/** The parser has no WGSL; its functions end with a brace that begins a line. */
function measureWgsl(path: string): File {
  const text = readFileSync(join(ROOT, path), 'utf8').replace(/\/\/.*/g, '');
  const functions = [...text.matchAll(/^fn (\w+)[\s\S]*?^}/gm)];
  const sizes = functions.map(([body, name]) => ({ name: name!, lines: codeLines(body) }));
  const longest = sizes.toSorted((a, b) => b.lines - a.lines)[0] ?? { name: '', lines: 0 };
  return { path, lines: codeLines(text), imports: [], all: [], longest };
}

const files = new Map(
  globSync(['src/**/*.ts', 'kernels/*.ts', 'kernels/*.wgsl'], { cwd: ROOT })
    .toSorted()
    .map((path) => [path, measure(path)]),
);

/** Finds all files that these import, by value. */
function closureOf(paths: readonly string[]): File[] {
  const found = new Map<string, File>();
  const queue = [...paths];
  for (const path of queue) {
    if (found.has(path)) continue;
    const file = files.get(path);
    if (!file) throw new Error(`${path}: expected a file of src or kernels`);
    found.set(path, file);
    queue.push(...file.imports);
  }
  return [...found.values()];
}

const sum = (list: Iterable<File>) => [...list].reduce((total, { lines }) => total + lines, 0);
const roomOf = ({ path }: File) => ROOMS.find((room) => room.files.some((pattern) => matchesGlob(path, pattern)));
const homeless = [...files.values()].filter((file) => !roomOf(file));
if (homeless.length > 0) throw new Error(`${homeless.map(({ path }) => path)}: expected a room in scripts/size.ts`);
const rooms = ROOMS.map((room) => {
  const own = [...files.values()].filter((file) => roomOf(file) === room);
  return { ...room, lines: sum(own), own };
});
const reading = closureOf(PATH);
const longest = [...files.values()].map((file) => ({ ...file.longest, path: file.path }));
longest.sort((a, b) => b.lines - a.lines);

/** Rooms of src, drawn from the imports of values and types: a folder, or a file with those that are its own. */
const TOGETHER = { doors: 'index tensor', qa: 'qa queue spans', errors: 'errors options' };
function inHouse(path: string): string {
  const [, name] = /^src\/(\w+)/.exec(path)!;
  return Object.entries(TOGETHER).find(([, names]) => names.split(' ').includes(name!))?.[0] ?? name!;
}
const arrows = new Set(
  [...files.values()].flatMap(({ path, all }) =>
    all
      .filter((to) => path.startsWith('src/') && to.startsWith('src/') && inHouse(to) !== inHouse(path))
      .map((to) => `${inHouse(path)} > ${inHouse(to)}`),
  ),
);
const house = new Set([...arrows].flatMap((arrow) => arrow.split(' > ')));

const summary =
  `From question to answer on the reference device: **${sum(reading)} code lines in ${reading.length} files**, counted with all ` +
  `that they import. \`src\` and \`kernels\` are ${sum(files.values())} in all; the longest function has ${longest[0]!.lines} lines.`;
const table = [
  '| room | file | code lines | longest function |',
  '|---|---|--:|--:|',
  ...rooms.flatMap(({ name, lines, cap, own }) => [
    `| **${name}** | | **${lines}** of ${cap} | |`,
    ...own.map((file) => `| | ${file.path} | ${file.lines} | ${file.longest.lines} |`),
  ]),
].join('\n');
console.log(
  `${summary}\n\n${table}\n\nsrc: ${house.size} rooms, ${arrows.size} arrows: ${[...arrows].toSorted().join(', ')}`,
);

const check = process.argv.includes('--check');
const fail = (message: string) => {
  console.error(message);
  if (check) process.exitCode = 1;
};
const beside = Object.entries(BESIDE).map(([folder, cap]) => {
  const lines = sum(globSync(`${folder}/**/*.{ts,mjs,js}`, { cwd: ROOT }).map(measure));
  if (lines > cap) fail(`${folder}: expected at most ${cap} code lines, got ${lines}`);
  return `${folder} ${lines} of ${cap}`;
});
console.log(`Beside them: ${beside.join(', ')}.`);
for (const { name, lines, cap } of rooms)
  if (lines > cap) fail(`${name}: expected at most ${cap} code lines, got ${lines}`);
if (sum(files.values()) > ALL) fail(`src and kernels: expected at most ${ALL} code lines, got ${sum(files.values())}`);
if (sum(reading) > CLOSURE) fail(`question to answer: expected at most ${CLOSURE} code lines, got ${sum(reading)}`);
if (house.size > 13 || arrows.size > 46) fail('src: expected at most 13 rooms and 46 arrows, got more');
for (const { name, path, lines } of longest) {
  if (lines > FUNCTION) fail(`${path}, ${name}: expected a function of at most ${FUNCTION} lines, got ${lines}`);
}
const readme = join(ROOT, 'README.md');
const [begin, end] = ['<!-- size -->', '<!-- /size -->'];
const before = readFileSync(readme, 'utf8');
const block = `${begin}\n${summary} \`npm run size\` lists every file.\n${end}`;
const after = before.replace(new RegExp(`${begin}[^]*${end}`), block);
if (!check) writeFileSync(readme, after);
else if (before !== after) fail('README.md has other figures than these: run `npm run size` and commit.');

/**
 * `npm run size`: code lines of each file (neither blank nor comment) and the longest function, against the budget;
 * writes the sum of it into README.md. With `--check` it fails where README's figures are not today's.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';

const ROOT = join(import.meta.dirname, '..');
/** From question to answer on the reference device: README's "Follow one question" reads them in this order. */
const PATH = [
  'text/tokenizer',
  'qa',
  'queue',
  'spans',
  'bert',
  'runtime',
  'devices/reference',
  'quantize',
  'errors',
].map((name) => `src/${name}.ts`);
/** Checks of arguments, added tokens and the files of a tokenizer, which a reader may pass over. */
const ASIDE = ['src/options.ts', 'src/text/vocabulary.ts', 'src/text/json.ts'];
/** What opens a checkpoint before that. */
const LOADING = [
  'index',
  'checkpoint/index',
  'files/index',
  'checkpoint/config',
  'text/json',
  'checkpoint/safetensors',
].map((name) => `src/${name}.ts`);
const BUDGET = { pathLines: 1165, pathFiles: 8, longestFunction: 60, allLines: 7205 };

interface File {
  path: string;
  lines: number;
  imports: string[];
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
  const imports = module.staticImports
    .filter(({ entries }) => entries.length === 0 || entries.some(({ isType }) => !isType))
    .map(({ moduleRequest }) => moduleRequest.value)
    .filter((request) => request.startsWith('.'))
    .map((request) => relative(ROOT, join(ROOT, dirname(path), request)));
  return { path, lines: codeLines(text), imports, longest };
}

/** The parser has no WGSL; its functions end with a brace that begins a line. */
function measureWgsl(path: string): File {
  const text = readFileSync(join(ROOT, path), 'utf8').replace(/\/\/.*/g, '');
  const functions = [...text.matchAll(/^fn (\w+)[\s\S]*?^}/gm)];
  const sizes = functions.map(([body, name]) => ({ name: name!, lines: codeLines(body) }));
  const longest = sizes.toSorted((a, b) => b.lines - a.lines)[0] ?? { name: '', lines: 0 };
  return { path, lines: codeLines(text), imports: [], longest };
}

const files = new Map(
  globSync(['src/**/*.ts', 'kernels/**/*.ts', 'kernels/*.wgsl'], { cwd: ROOT })
    .toSorted()
    .map((path) => [path, measure(path)]),
);

const path = new Set(PATH);
const onPath = PATH.map((name) => files.get(name)!);
// The list is complete: nothing on it needs a file that is not.
for (const { path: name, imports } of onPath) {
  const missing = imports.filter((imported) => !path.has(imported) && !ASIDE.includes(imported));
  if (missing.length > 0) throw new Error(`${name} imports ${missing}, which PATH lacks`);
}

const sum = (list: Iterable<File>) => [...list].reduce((total, { lines }) => total + lines, 0);
const longest = onPath.map(({ longest, path }) => ({ ...longest, path })).toSorted((a, b) => b.lines - a.lines)[0]!;
const figures = {
  pathLines: sum(onPath),
  pathFiles: onPath.length,
  longestFunction: longest.lines,
  allLines: sum(files.values()),
};

const table = [
  '| file | code lines | longest function |',
  '|---|---|---|',
  ...[...files.values()].map(
    ({ path: name, lines, longest }) =>
      `| ${path.has(name) ? '**' : ''}${name}${path.has(name) ? '**' : ''} | ${lines} | ${longest.lines} |`,
  ),
].join('\n');
const summary =
  `From question to answer on the reference device: **${figures.pathLines} code lines in ${figures.pathFiles} files**, ` +
  `longest function ${figures.longestFunction} lines (\`${longest.name}\`). Opening a checkpoint takes ` +
  `${sum(LOADING.map((name) => files.get(name)!))} more in ${LOADING.length}; \`src\` and \`kernels\` are ${figures.allLines} in all.`;

const readme = join(ROOT, 'README.md');
const [begin, end] = ['<!-- size -->', '<!-- /size -->'];
if (existsSync(readme)) {
  const before = readFileSync(readme, 'utf8');
  const after = before.replace(
    new RegExp(`${begin}[^]*${end}`),
    `${begin}\n${summary} \`npm run size\` lists every file.\n${end}`,
  );
  if (process.argv.includes('--check') && before !== after) {
    console.error('README.md has other figures than these: run `npm run size` and commit.');
    process.exitCode = 1;
  } else writeFileSync(readme, after);
}
console.log(`${summary}\n\n${table}`);
for (const [name, value] of Object.entries(figures)) {
  const most = BUDGET[name as keyof typeof BUDGET];
  if (value <= most) continue;
  console.error(`over budget: ${name} is ${value}, at most ${most}`);
  process.exitCode = 1;
}

/** The commands, each with its options. What a command runs is imported when it is called: `qa` waits for nothing of `bench`. */
import { type Command, Option } from 'commander';
import { SHAPES } from '../bench/shapes.ts';
import { inputError } from '../src/errors.ts';
import type { Io } from './io.ts';
import * as option from './options.ts';

/** Examples of each command, and what its options cannot say. */
const HELP = {
  qa: `
Examples:
  $ bertlet qa --question "Who wrote it?" --context "Ada wrote it in 1843."
  $ bertlet qa --question "Who wrote the program?" --context-file - < ada.txt
  $ bertlet qa --model deepset/bert-base-cased-squad2 --device webgpu

Without a question it repeats the article, with PyTorch's int8 (torch).
A question of your own has the library's default (accurate).`,
  answer: `
Examples:
  $ bertlet answer < questions.jsonl
  $ bertlet answer questions.jsonl --out answers.jsonl --resume

A line that cannot be answered becomes {"id", "line", "error"}, and the exit
code 1; blank lines are skipped. start and end count UTF-16 units of the
passage: docs/scale.md says how Python slices with them; clusters, scores.`,
  evaluate: `
Examples:
  $ bertlet evaluate dev-v2.0.json --limit 200
  $ bertlet evaluate dev-v2.0.json --predictions dev.jsonl --json dev.json
  $ bertlet evaluate dev-v1.1.json --dtype fp32,int8 --scheme torch

A file with questions that have no answer is SQuAD 2.0, any other 1.1, where
"no answer" is never said. F1 difference: to fp32, with the 95 % interval of a
paired bootstrap over the questions (10,000 resamples).`,
  convert: `
Examples:
  $ bertlet convert deepset/bert-base-cased-squad2 --out squad2-int8
  $ bertlet convert ./checkpoint --out ./checkpoint-fp16 --dtype fp16`,
  bench: `
Examples:
  $ bertlet bench
  $ bertlet bench --report out/
  $ bertlet bench --model deepset/bert-base-cased-squad2 --tokens 16,133
  $ bertlet bench --shape minilm-l6 --json > bench.json`,
  explain: `
Examples:
  $ bertlet explain
  $ bertlet explain --report explain.html
  $ bertlet explain --flip
  $ bertlet explain --question "Who wrote the program?" --context-file ada.txt`,
};

const EMBEDDINGS = 'int8: the word embeddings in int8 as well, a scale for each row: for bertlet alone';

type Add = (program: Command, io: Io, argv: readonly string[]) => void;

const qa: Add = (program, io) => {
  option
    .addQuestion(program.command('qa'))
    .description('Answers a question from a passage, in float32 and in dynamic int8, and times both.')
    .addOption(option.model())
    .option('--revision <name>', 'Hub: branch, tag or commit (default: main)')
    .addOption(option.choice('--device <name>', 'default cpu, and the GPU as well in the latencies', option.DEVICES))
    .addOption(option.threads())
    .addOption(option.choice('--dtype <type>', 'only this one; default fp32 and int8', option.DTYPES))
    .addOption(option.scheme("accurate, for the article's question torch"))
    .option('--top-k <n>', 'answers to print, best first; default 1', option.positive)
    .option('--threshold <x>', '"no answer" where its score exceeds the best span\'s by more; default 0', option.finite)
    .option(
      '--samples <n>',
      'forwards to time for each dtype, 0 for none; default 100, as in the article',
      option.natural,
    )
    .option('--json', 'print one JSON object instead')
    .addHelpText('after', HELP.qa)
    .action(async (options) => (await import('./qa.ts')).run(options, io));
};

const answer: Add = (program, io) => {
  program
    .command('answer')
    .description('Answers a file of questions: a line of JSON for each line of JSON, in their order.')
    .argument('[file]', 'lines of {"id", "question", "context"}, or "contexts": several; default standard input')
    .option('--out <file>', 'a new file for the answers, instead of standard output')
    .option('--resume', 'go on with the file of --out, where it was stopped')
    .addOption(option.model())
    .addOption(option.choice('--device <name>', '', option.DEVICES).default('cpu'))
    .addOption(option.choice('--dtype <type>', '', option.DTYPES).default('int8'))
    .addOption(option.scheme('accurate'))
    .addOption(option.workers())
    .addOption(option.workerThreads())
    .option('--top-k <n>', 'answers to each question, the best first', option.positive, 1)
    .option('--threshold <x>', '"no answer" where its score exceeds the best span\'s by more', option.finite, 0)
    .option('--allow-failed', 'exit code 0 where no more than lines failed: engines run a part that ends with 1 again')
    .addHelpText('after', HELP.answer)
    .action(async (file, options) => (await import('./answer.ts')).run(file, options, io));
};

const evaluate: Add = (program, io) => {
  program
    .command('evaluate')
    .description("SQuAD's exact match and F1 of one model in several precisions, side by side, and their speed.")
    .argument('<squad>', 'a file of SQuAD 1.1 or 2.0, or lines for --calibrate')
    .addOption(option.model())
    .addOption(option.list('--device <list>', 'some of', ['cpu', 'webgpu', 'reference'], ['cpu']))
    .addOption(option.list('--dtype <list>', 'some of, fp16 for webgpu', option.DTYPES, ['fp32', 'int8']))
    .addOption(option.list('--scheme <list>', 'int8, some of', option.SCHEMES))
    .addOption(option.workers())
    .addOption(option.workerThreads())
    .option(
      '--limit <n>',
      'only so many questions: with and without an answer as in the file, of all articles',
      option.positive,
    )
    .option('--seed <n>', 'of sample, bootstrap and documents', option.positive, 1)
    .option(
      '--threshold <x>',
      'SQuAD 2.0: "no answer" where its score exceeds the best span\'s by more; default 0',
      option.finite,
    )
    .option('--documents <n>', 'ask n paragraphs of an article at once; 0: all', option.natural)
    .option('--calibrate', 'a threshold for lines {"question", "context", "answer"}')
    .option('--answerable', 'SQuAD 2.0 as 1.1: only questions that have an answer')
    .option('--predictions <file>', 'keep the answers there; run again to go on')
    .option('--json [file]', 'print one JSON object instead, or write it to a file as well')
    .addHelpText('after', HELP.evaluate)
    .action(async (file, options) => (await import('./evaluate.ts')).run(file, options, io));
};

const convert: Add = (program, io) => {
  program
    .command('convert')
    .description('Writes a BERT question answering checkpoint in another precision.')
    .argument('<model>', 'folder of the checkpoint, or owner/name on the Hugging Face Hub')
    .requiredOption('--out <dir>', 'the folder to make')
    .addOption(option.choice('--dtype <type>', "of the linears' weights", option.DTYPES).default('int8'))
    .addOption(option.scheme('accurate'))
    .addOption(
      option
        .choice('--embeddings <type>', EMBEDDINGS, ['float', 'int8'])
        .default(undefined, "the checkpoint's, otherwise float"),
    )
    .option('--revision <name>', 'Hub: branch, tag or commit (default: main)')
    .option('--json', 'print the manifest instead: each file with its size and SHA-256')
    .addHelpText('after', HELP.convert)
    .action(async (from, options) => (await import('./convert.ts')).run(from, options, io));
};

const bench: Add = (program, io, argv) => {
  program
    .command('bench')
    .description('Times the model on every device, in every dtype and scheme, each in a process of its own, in turns.')
    .addOption(option.model())
    .addOption(
      option
        .choice('--shape <name>', 'instead of a model: seeded random weights of this shape', Object.keys(SHAPES))
        .conflicts('model'),
    )
    .addOption(option.list('--device <list>', 'some of', ['cpu', 'webgpu']))
    .addOption(option.list('--dtype <list>', 'some of, fp16 for webgpu', option.DTYPES))
    .addOption(option.list('--scheme <list>', 'int8, some of', option.SCHEMES))
    .addOption(
      new Option('--tokens <list>', 'lengths of the input')
        .argParser((text) => text.split(',').map(option.positive))
        .default([133], "133, the article's"),
    )
    .addOption(option.threads())
    .option('--warmups <n>', 'forwards of each row that are not counted', option.positive, 10)
    .option('--samples <n>', 'forwards of each row that are', option.positive, 100)
    .option('--seconds <n>', 'time for a row: a slow one has fewer samples, and says how many', option.positive, 30)
    .option('--sweep', 'measure also over 16 to 512 tokens, over threads, and by stage, with a fifth of the samples')
    .option('--report <dir>', 'sweep, and write a page of charts, index.html, with results.json')
    .option('--evaluation <file>', 'what `bertlet evaluate --json FILE` wrote, for the page')
    .option('--json [file]', 'print one JSON object instead, with all samples, or write it to a file as well')
    .addHelpText('after', HELP.bench)
    .action(async (options) => (await import('./bench.ts')).run(options, argv.slice(1), io));
};

const explain: Add = (program, io) => {
  option
    .addQuestion(program.command('explain'))
    .description('Shows what int8 does to one question: scales, zero points, levels and errors of every linear.')
    .addOption(option.model())
    .addOption(option.choice('--device <name>', 'that computes', ['cpu', 'reference']).default('cpu'))
    .option('--report <path>', 'write a page with charts as well: a file.html, or the folder of explain.html')
    .addOption(
      new Option(
        '--flip [other]',
        'instead: the first integer that another device rounds otherwise, and what becomes of it; reference unless said, ' +
          'or cpu, webgpu, a file of test/golden/make_trace.py',
      ).conflicts('report'),
    )
    .option(
      '--microscope <spot>',
      'of the page: a linear, a token and an output feature, as "layer 0 output:47:68"; default the linear that costs most, ' +
        'the first token of the answer, its largest output',
    )
    .option('--json', 'print one JSON object instead of the table')
    .addHelpText('after', HELP.explain)
    .action(async (options) => (await import('./explain.ts')).run(options, io));
};

/** Refuses options of int8 with other dtypes: they would do nothing, and whoever gave them would not know. */
function checkInt8Options(called: Command): void {
  const options = called.opts<Record<string, string | string[] | undefined>>();
  const { dtype } = options;
  if (!dtype || dtype.includes('int8')) return;
  for (const name of ['scheme', 'embeddings']) {
    if (called.getOptionValueSource(name) !== 'cli') continue;
    throw inputError(`--${name}`, `none with --dtype ${dtype}`, options[name], 'Leave it out, or add int8.');
  }
}

/** An empty name is that of a variable which was never set. Questions and passages have a check of their own. */
function checkEmpty(called: Command): void {
  const empty = called.options.find(
    (one) => called.getOptionValue(one.attributeName()) === '' && !/question|context$/.test(one.name()),
  );
  if (empty) throw inputError(`--${empty.name()}`, 'a value', 'an empty one');
  const at = called.args.indexOf('');
  if (at >= 0) throw inputError(called.registeredArguments[at]!.name(), 'a name', 'an empty one');
}

/** Adds all of them, in the order of the help. */
export const addCommands: Add = (program, ...given) => {
  program.hook('preAction', (_, called) => {
    checkEmpty(called);
    checkInt8Options(called);
    option.checkModel(called);
  });
  for (const add of [qa, answer, evaluate, convert, bench, explain]) add(program, ...given);
};

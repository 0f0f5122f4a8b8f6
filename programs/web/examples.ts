/** Passages and questions to begin with. */
import { QUESTION, TEXT } from '../../bench/article.ts';
import type { Texts } from './protocol.ts';

const LOVELACE =
  'Ada Lovelace was an English mathematician and writer, born in London in 1815. She met Charles Babbage when she was ' +
  'seventeen. In 1843 she translated a paper about his Analytical Engine, and added notes three times as long as the ' +
  'paper. Note G describes how the engine would compute the Bernoulli numbers, and is often called the first computer ' +
  'program. Babbage never finished the machine, for want of money.';
const BREAD =
  'Mix 500 g of flour with 350 ml of water and leave it for half an hour. Add 10 g of salt and 100 g of sourdough, and ' +
  'fold the dough every thirty minutes, four times in all. Then let it rise until it has grown by half: about four ' +
  'hours at 24 °C, longer in a cold kitchen. Shape it, put it in the fridge overnight, and bake it for forty-five ' +
  'minutes at 240 °C, the first twenty with the lid on.';

export const ARTICLE: Texts = { question: QUESTION, context: TEXT };
export const EXAMPLES: { name: string; texts: Texts }[] = [
  { name: 'The article’s question', texts: ARTICLE },
  {
    name: 'Why was the machine never finished?',
    texts: { question: 'Why was the machine never finished?', context: LOVELACE },
  },
  // The passage does not say; the years in it are other ones.
  { name: 'When did Babbage die?', texts: { question: 'When did Babbage die?', context: LOVELACE } },
  { name: 'How long does the dough rise?', texts: { question: 'How long does the dough rise?', context: BREAD } },
];

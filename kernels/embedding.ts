/**
 * embedding: `y[t] = word[ids[t]] + type[typeIds[t]] + position[t]`
 * ids, typeIds [tokens]; tables word [vocab, hidden], type [types, hidden], position [positions, hidden] ->
 * y [tokens, hidden].
 * Source: Devlin et al. 2018, figure 2. The order of the sum is that of Hugging Face's BertEmbeddings.
 */
import { type Float32Tensor, normal, type Op, U, uniform } from './op.ts';

export interface EmbeddingInputs {
  ids: Int32Array;
  typeIds: Int32Array;
  word: Float32Tensor;
  position: Float32Tensor;
  type: Float32Tensor;
}

/** Random ids, the first the last of the vocabulary; the first half of the tokens has type 0, the rest type 1. */
export function makeEmbedding(tokens: number, hidden: number, vocab: number): EmbeddingInputs {
  const next = uniform(tokens);
  return {
    ids: Int32Array.from({ length: tokens }, (_, i) => (i === 0 ? vocab - 1 : Math.floor(next() * vocab))),
    typeIds: Int32Array.from({ length: tokens }, (_, i) => (2 * i < tokens ? 0 : 1)),
    word: normal([vocab, hidden], 1),
    position: normal([tokens + 1, hidden], 2),
    type: normal([2, hidden], 3),
  };
}

export const embedding: Op<EmbeddingInputs> = {
  name: 'embedding',
  // The tables are tensors; ids and type ids go with the step.
  run: (runtime, { ids, typeIds, word, position, type }) =>
    runtime.embedding(ids, typeIds, {
      word: runtime.tensor(word),
      position: runtime.tensor(position),
      type: runtime.tensor(type),
    }),
  // U for each of two additions, and U for the rounding of the reference's result.
  bound({ ids, typeIds, word, position, type }) {
    const hidden = word.shape[1]!;
    return Float64Array.from({ length: ids.length * hidden }, (_, at) => {
      const [t, i] = [Math.floor(at / hidden), at % hidden];
      // The position table is read from its start, so `at` serves as its index, too.
      const parts = [word.data[ids[t]! * hidden + i]!, type.data[typeIds[t]! * hidden + i]!, position.data[at]!];
      return 3 * U * parts.reduce((sum, part) => sum + Math.abs(part), 0);
    });
  },
  selfTest: { '17 tokens of 20': () => makeEmbedding(17, 20, 100) },
};

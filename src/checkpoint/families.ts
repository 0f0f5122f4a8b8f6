/**
 * The families of models that are BERT's computation under other names. A family is what its checkpoints call things;
 * everything behind config.ts knows BERT's names only.
 */

/** What the checkpoints of a family call things, and what they lack. */
interface Family {
  /** What config.json calls BERT's keys, where it has other words. */
  readonly keys?: Readonly<Record<string, string>>;
  /** Default of `embedding_size`, where the tables may be narrower than the layers. */
  readonly embeddingSize?: number;
  /** Replaced in BERT's names one after another, they make the names of the family's tensors. */
  readonly names: readonly (readonly [bert: string, own: string])[];
  /** Whether there are token types. DistilBERT has none. */
  readonly noTypes?: boolean;
  /** Whether positions are counted from the padding's id + 1, as in fairseq, where padding has a position. */
  readonly positionsAfterPadding?: boolean;
  /** The class of its tokenizer where no file names another. */
  readonly tokenizer: string;
  /** Well-known models of the Hub: README's table. */
  readonly models: readonly string[];
}

/** The families by their `model_type` in config.json. */
export const FAMILIES = {
  bert: {
    names: [],
    tokenizer: 'BertTokenizer',
    models: [
      'deepset/bert-base-cased-squad2',
      'google-bert/bert-large-uncased-whole-word-masking-finetuned-squad',
      'google-bert/bert-large-cased-whole-word-masking-finetuned-squad',
    ],
  },
  distilbert: {
    keys: {
      hidden_size: 'dim',
      num_hidden_layers: 'n_layers',
      num_attention_heads: 'n_heads',
      intermediate_size: 'hidden_dim',
      hidden_act: 'activation',
    },
    names: [
      ['bert.encoder.', 'distilbert.transformer.'],
      ['bert.embeddings.', 'distilbert.embeddings.'],
      ['attention.self.query', 'attention.q_lin'],
      ['attention.self.key', 'attention.k_lin'],
      ['attention.self.value', 'attention.v_lin'],
      ['attention.output.dense', 'attention.out_lin'],
      ['attention.output.LayerNorm', 'sa_layer_norm'],
      ['intermediate.dense', 'ffn.lin1'],
      ['output.dense', 'ffn.lin2'],
      ['output.LayerNorm', 'output_layer_norm'],
    ],
    noTypes: true,
    tokenizer: 'BertTokenizer',
    models: ['distilbert/distilbert-base-cased-distilled-squad', 'distilbert/distilbert-base-uncased-distilled-squad'],
  },
  electra: {
    embeddingSize: 128,
    names: [['bert.', 'electra.']],
    tokenizer: 'BertTokenizer',
    models: ['deepset/electra-base-squad2'],
  },
  roberta: {
    names: [['bert.', 'roberta.']],
    positionsAfterPadding: true,
    tokenizer: 'RobertaTokenizer',
    models: ['deepset/roberta-base-squad2', 'deepset/tinyroberta-squad2'],
  },
} as const satisfies Record<string, Family>;

export type FamilyName = keyof typeof FAMILIES;

/** A family by its `model_type`. */
export const familyOf = (name: FamilyName = 'bert'): Family => FAMILIES[name];

/** The name in a family's checkpoints of the tensor that BERT calls `name`. */
export const ownName = (name: string, family?: FamilyName): string =>
  familyOf(family).names.reduce((all, [bert, own]) => all.replace(bert, own), name);

"""Writes what test/pytorch.test.ts reads: files of torch.save, those of a checkpoint, and those that must be refused.

python test/golden/make_pytorch.py   (torch 2.15.0, transformers 5.23.0)
"""
import os
import torch
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, 'pytorch')
os.makedirs(OUT, exist_ok=True)
tiny = BertForQuestionAnswering.from_pretrained(os.path.join(HERE, 'tiny-bert'))
torch.save(tiny.state_dict(), os.path.join(OUT, 'tiny.bin'))

small = {'a': torch.arange(6, dtype=torch.float32).reshape(2, 3)}
both = torch.arange(12, dtype=torch.float32)


class Evil:
    def __reduce__(self):
        return (os.system, ('echo pwned',))


files = {
    'parameter': {'a': torch.nn.Parameter(small['a'])},
    'half': {'a': small['a'].half(), 'b': small['a'].bfloat16(), 'c': torch.arange(3), 'd': torch.tensor(2.5)},
    'shared': {'a': both[:6].reshape(2, 3), 'b': both[6:].reshape(3, 2), 'tied': both[:6].reshape(2, 3)},
    'views': {
        'transposed': small['a'].t(), 'columns': both.reshape(3, 4)[:, 1:3], 'every': both[1::3],
        'permuted': both.reshape(2, 3, 2).permute(2, 0, 1), 'empty': both.reshape(3, 4)[:0].t(),
    },
    'dtypes': {'double': both[:2].double() / 3, 'bool': torch.tensor([True]), 'short': torch.tensor([1, 2]).short()},
    'expanded': {'a': torch.ones(1).expand(1000, 1000)},
    'evil': {'a': Evil()},
    'module': {'a': torch.nn.Linear(2, 2)},
    'list': [small['a']],
}
for name, value in files.items():
    torch.save(value, os.path.join(OUT, f'{name}.bin'))
torch.save(torch.nn.LayerNorm(6).state_dict(), os.path.join(OUT, 'protocol4.bin'), pickle_protocol=4)
torch.save(small, os.path.join(OUT, 'old.bin'), _use_new_zipfile_serialization=False)

# The smallest model that answers, for test/fuzz.test.ts, which damages its files.
torch.manual_seed(16)
words = '[PAD] [UNK] [CLS] [SEP] [MASK] a b c ##d .'.split()
sizes = dict(vocab_size=len(words), hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=4)
smallest = BertForQuestionAnswering(BertConfig(**sizes, max_position_embeddings=32, type_vocab_size=2))
folder = os.path.join(HERE, 'smallest-bert')
smallest.save_pretrained(folder)
torch.save(smallest.state_dict(), os.path.join(folder, 'pytorch_model.bin'))
BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)

"""Cartoon faces of any size as prepared clips: what a first stage's latents are made of.

There are no files to read, so FOLDER may be any folder ('.'). Training on faces in pixels (-p dataset cartoon) needs no
preparation; this is for the way through latents (encode_latents.py). All test identities give the same performance
of 96 frames, so that the right answer of any swap is a clip that exists.
"""
import functools
from diffsda.preparation import Source, data_folder, parser, run
from diffsda.faces import render
from diffsda.toys import sample_dynamic, sample_static, to_bytes

@functools.lru_cache(2)
def cast(split, n): # -> who, what they do: test identities all do the same, and take their time
    one = split == 'test'
    return sample_static(n, 0, split), sample_dynamic(1 if one else n, 0, split, 96 if one else 24)[0].expand(n, -1, -1)

def sources(folder, args):
    names = [(split, n, i, f'{split}-{i:05d}') for split, n in (('train', args.train), ('test', args.test)) for i in range(n)]
    return [Source(name, name, split, {'identity': name}, {'i': i, 'n': n}) for split, n, i, name in names]

def read(source, args):
    static, dynamic = (v[source.part['i'], None] for v in cast(source.split, source.part['n']))
    for part in dynamic.split(24, 1): yield to_bytes(render(static, part, args.size))[0].numpy()

if __name__ == '__main__':
    p = parser(__doc__, 'cartoon', size=128)
    p.add_argument('--train', type=int, default=1000, help='identities to train on, one clip each')
    p.add_argument('--test', type=int, default=60, help='identities to test on')
    args = p.parse_args()
    args.out = args.out or str(data_folder('cartoon')) # has to be named when it is used: -p dataset cartoon alone draws its faces itself
    run(args, 'cartoon', sources, read, dict(modality='video', frame=[3, args.size, args.size], rate=12., aligned='test', source='diffsda.toys', licence='Apache-2.0'))

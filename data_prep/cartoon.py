"""Cartoon faces of any size as prepared clips: the images from which a first stage makes latents.

No files are read, so FOLDER may be any folder ('.'). Training on faces in pixels (-p dataset cartoon) needs no
preparation; this program is for training on latents (encode_latents.py). All test identities give the same performance
of 96 frames, so that the right answer of any swap is a clip that exists.
"""
import functools
from diffsda.preparation import Source, data_folder, parser, run
from diffsda.faces import render
from diffsda.toys import sample_dynamic, sample_static, to_bytes

@functools.lru_cache(2)
def factors(split, # 'train': each identity has its own motion; 'test': all have the same
            n,     # identities
           ):      # static (n, 20), dynamic (n, t, 9)
    performances, frames = (1, 96) if split == 'test' else (n, 24)
    dynamic = sample_dynamic(performances, 0, split, frames)[0]
    return sample_static(n, 0, split), dynamic.expand(n, -1, -1)

def sources(folder, args):
    found = []
    for split, n in (('train', args.train), ('test', args.test)):
        names = [f'{split}-{i:05d}' for i in range(n)]
        found += [Source(name, name, split, {'identity': name}, {'i': i, 'n': n}) for i, name in enumerate(names)]
    return found

def read(source, args):
    static, dynamic = (v[source.part['i'], None] for v in factors(source.split, source.part['n']))
    for part in dynamic.split(24, 1): yield to_bytes(render(static, part, args.size))[0].numpy()

if __name__ == '__main__':
    p = parser(__doc__, 'cartoon', size=128)
    p.add_argument('--train', type=int, default=1000, help='identities to train on, one clip each')
    p.add_argument('--test', type=int, default=60, help='identities to test on')
    args = p.parse_args()
    args.out = args.out or str(data_folder('cartoon')) # named in the command to train: -p dataset cartoon alone renders
    info = dict(modality='video', frame=[3, args.size, args.size], rate=12., aligned='test',
                source='diffsda.toys', licence='Apache-2.0')
    run(args, 'cartoon', sources, read, info)

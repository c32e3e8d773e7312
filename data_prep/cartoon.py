"""Cartoon faces of any size as prepared clips: the images from which a first stage makes latents.

No files are read, so FOLDER may be any folder ('.'). Training on faces in pixels (-p dataset cartoon) needs no
preparation; this program is for training on latents (encode_latents.py). All test identities give the same performance
of 96 frames, so that the right answer of any swap is a clip that exists. --world other makes faces of other
proportions, hair and colours, for zero-shot: a model of the one world has seen nothing of the other.
"""
import functools
from diffsda.preparation import Source, data_folder, parser, run
from diffsda.faces import HAIR, STATIC, render
from diffsda.toys import sample_dynamic, sample_static, to_bytes

OTHER = dict(face_width=(-.6, 0), face_height=(1, 1.5), eye_spacing=(1, 1.6), eye_size=(1, 1.4), nose_size=(1, 1.8),
             brow_thickness=(1, 1.8), mouth_width=(-.8, 0)) # the first world has all of [0, 1]
OTHER_HAIR = 'bob', 'curls', 'bun', 'puffs'

def other_world(static): # (n, 20) in [0, 1] -> the same people, of other proportions and hair
    static = static.clone()
    for name, (low, high) in OTHER.items():
        k = STATIC.index(name)
        static[:, k] = low + (high - low) * static[:, k]
    k, at = STATIC.index('hair_kind'), [HAIR.index(name) for name in OTHER_HAIR]
    kinds = (static[:, k] * len(at)).long().clamp(max=len(at) - 1).tolist()
    static[:, k] = static.new_tensor([(at[i] + .5) / len(HAIR) for i in kinds])
    return static

@functools.lru_cache(2)
def factors(split, # 'train': each identity has its own motion; 'test': all have the same
            n,     # identities
            world, # 'first' or 'other'
           ):      # static (n, 20), dynamic (n, t, 9)
    performances, frames = (1, 96) if split == 'test' else (n, 24)
    dynamic = sample_dynamic(performances, 0, split, frames)[0]
    static = sample_static(n, 0, split)
    return static if world == 'first' else other_world(static), dynamic.expand(n, -1, -1)

def sources(folder, args):
    found = []
    for split, n in (('train', args.train), ('test', args.test)):
        names = [f'{split}-{i:05d}' for i in range(n)]
        found += [Source(name, name, split, {'identity': name}, {'i': i, 'n': n}) for i, name in enumerate(names)]
    return found

def read(source, args):
    static, dynamic = (v[source.part['i'], None] for v in factors(source.split, source.part['n'], args.world))
    channels = [0, 1, 2] if args.world == 'first' else [2, 0, 1] # red, green and blue change places
    for part in dynamic.split(24, 1): yield to_bytes(render(static, part, args.size))[0, :, channels].numpy()

if __name__ == '__main__':
    p = parser(__doc__, 'cartoon', size=128)
    p.add_argument('--train', type=int, default=1000, help='identities to train on, one clip each')
    p.add_argument('--test', type=int, default=60, help='identities to test on')
    p.add_argument('--world', default='first', choices=['first', 'other'], help='other: other proportions and colours')
    args = p.parse_args()
    name = 'cartoon' if args.world == 'first' else 'cartoon_other'
    args.out = args.out or str(data_folder(name)) # named in the command to train: -p dataset cartoon alone renders
    info = dict(modality='video', frame=[3, args.size, args.size], rate=12., aligned='test',
                source='diffsda.toys', licence='Apache-2.0')
    run(args, name, sources, read, info)

"""A prepared dataset of pictures to latents of a first stage, float16: 256x256 pictures to 4 x 32 x 32 with VQ-f8.

FOLDER is what a program of this folder prepared. --first_stage names a folder with the weights as diffusers keeps them, which
convert_first_stage.py makes of the original. The latents are not quantised; their mean and std stand in dataset.json, and
decoding un-normalises, then quantises.
"""
import functools
from pathlib import Path
import numpy as np
import torch
from diffsda.clips import Clips, read_info
from diffsda.factors import BadInput
from diffsda.files import fingerprint
from diffsda.first_stage import open_stage
from diffsda.preparation import Source, data_folder, parser, run

@functools.lru_cache(1)
def first_stage(folder): # -> the model, on whatever device there is
    return open_stage(folder).to('cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu')

def encode(stage, frames): # FirstStage; (k, 3, h, w) uint8 -> (k, c, h / f, w / f) float16
    return stage.encode(torch.from_numpy(frames)).half().cpu().numpy()

@functools.lru_cache(4)
def clips(folder, split): return Clips(folder, split)

def sources(folder, args):
    info = read_info(folder)
    sides = {split: clips(str(folder), split) for split in info['splits']}
    keep = lambda data, i: {k: str(v[i]) for k, v in data.labels.items() if k != 'id'}
    return [Source(str(data.labels['id'][i]), str(folder), split, keep(data, i), {'i': i}) for split, data in sides.items() for i in range(len(data))]

def read(source, args):
    data, stage, i = clips(source.path, source.split), first_stage(args.first_stage), source.part['i']
    for at in np.array_split(np.arange(data.lengths[i]), -(-data.lengths[i] // args.batch)): yield encode(stage, data.take(np.array([i]), at[None])[0].numpy())

if __name__ == '__main__':
    p = parser(__doc__, 'NAME_latents', size=0)
    p.add_argument('--first_stage', required=True, help='folder of its weights')
    p.add_argument('--batch', type=int, default=16, help='frames encoded at a time')
    args = p.parse_args()
    args.workers = 0 # the device is one
    if args.batch < 1: p.exit(1, f'{p.prog}: --batch {args.batch}: expected 1 or more\n')
    try:
        info = read_info(args.folder)
        if info['modality'] != 'video': raise BadInput(f'{args.folder}: {info["modality"]}, expected prepared pictures')
        stage = first_stage(args.first_stage)
        c, h, w = encode(stage, np.zeros((1, *info['frame']), np.uint8)).shape[1:]
    except BadInput as e: p.exit(1, f'{p.prog}: {e}\n')
    args.out = args.out or str(data_folder(f'{info["name"]}_latents')) if info['name'] == 'cartoon' else args.out # cartoon alone draws its faces itself
    keep = {k: info[k] for k in ('rate', 'source', 'licence', 'aligned') if k in info}
    run(args, f'{info["name"]}_latents', sources, read, dict(modality='latent', frame=[c, h, w], pixels=info['frame'], first_stage=str(Path(args.first_stage).resolve()), fingerprint=fingerprint(stage), **keep))

"""A prepared dataset of images to latents of a first stage, float16: 256x256 images to 4 x 32 x 32 with VQ-f8.

FOLDER is a dataset that a program of this folder prepared. --first_stage names a folder with the weights as diffusers
keeps them; convert_first_stage.py makes it of the original. The latents are not quantised; their mean and standard
deviation stand in dataset.json. Decoding takes the normalisation back, then quantises. A GPU is used if there is one.
"""
import functools
from pathlib import Path
import numpy as np
import torch
from diffsda.clips import Clips, read_info
from diffsda.factors import BadInput, refuse
from diffsda.files import expanded, fingerprint
from diffsda.first_stage import open_stage
from diffsda.preparation import Source, data_folder, parser, run

@functools.lru_cache(1)
def first_stage(folder): # -> the model, on the best device there is
    mps = torch.backends.mps.is_available()
    return open_stage(folder).to('cuda' if torch.cuda.is_available() else 'mps' if mps else 'cpu')

def encode(stage,  # FirstStage
           frames, # (k, 3, h, w) uint8
          ):       # (k, c, h / f, w / f) float16
    return stage.encode(torch.from_numpy(frames)).half().cpu().numpy()

@functools.lru_cache(4)
def clips(folder, split): return Clips(folder, split)

def sources(folder, args):
    found = []
    for split in read_info(folder)['splits']:
        data = clips(str(folder), split)
        for i, id in enumerate(data.labels['id']):
            labels = {k: str(v[i]) for k, v in data.labels.items() if k != 'id'}
            found.append(Source(str(id), str(folder), split, labels, {'i': i}))
    return found

def read(source, args):
    data, stage, i = clips(source.path, source.split), first_stage(args.first_stage), source.part['i']
    batches = -(-data.lengths[i] // args.batch)
    for at in np.array_split(np.arange(data.lengths[i]), batches):
        yield encode(stage, data.take(np.array([i]), at[None])[0].numpy())

if __name__ == '__main__':
    p = parser(__doc__, 'NAME_latents', size=0, needs='--first_stage data/vq-f8')
    p.add_argument('--first_stage', required=True, help='folder of its weights')
    p.add_argument('--batch', type=int, default=16, help='frames encoded at a time')
    args = p.parse_args()
    args.workers = 0 # there is one device
    try:
        args.folder, args.first_stage = map(str, (expanded(args.folder), expanded(args.first_stage)))
        if args.batch < 1: refuse(f'--batch {args.batch}', 'too small', '1 or more')
        info = read_info(args.folder)
        if info['modality'] != 'video': refuse(args.folder, f'modality {info["modality"]}', 'prepared images (video)')
        stage = first_stage(args.first_stage)
        c, h, w = encode(stage, np.zeros((1, *info['frame']), np.uint8)).shape[1:]
    except BadInput as e: p.exit(1, f'{p.prog}: {e}\n')
    name = f'{info["name"]}_latents'
    if info['name'] == 'cartoon': args.out = args.out or str(data_folder(name)) # -p dataset cartoon alone renders
    kept = {k: info[k] for k in ('rate', 'source', 'licence', 'aligned') if k in info}
    latents = dict(modality='latent', frame=[c, h, w], pixels=info['frame'],
                   first_stage=str(Path(args.first_stage).resolve()), fingerprint=fingerprint(stage),
                   made_from={'name': info['name'], 'own': info.get('own', '')}, **kept)
    run(args, name, sources, read, latents)

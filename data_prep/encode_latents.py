"""A prepared dataset of 256x256 pictures to latents of the VQ-f8 first stage (4 x 32 x 32, float16).

FOLDER is what a program of this folder prepared. --first_stage names a folder with the weights as diffusers keeps them (config.json
and diffusion_pytorch_model.safetensors of a VQModel or an AutoencoderKL). The latents are not quantised; their mean and std stand
in dataset.json, and decoding un-normalises, then quantises.
"""
import functools
from pathlib import Path
import numpy as np
import torch
from diffsda.clips import Clips, read_info
from diffsda.factors import BadInput
from diffsda.preparation import Source, parser, run

def device(): return 'cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu'

@functools.lru_cache(1)
def first_stage(folder): # -> the model, on whatever device there is
    import json
    try:
        import diffusers
        kind = json.loads((Path(folder) / 'config.json').read_text())['_class_name']
        if kind not in ('VQModel', 'AutoencoderKL'): raise ValueError(f'a {kind}')
        return getattr(diffusers, kind).from_pretrained(folder, use_safetensors=True).eval().requires_grad_(False).to(device())
    except ImportError: raise BadInput("the first stage is diffusers' VQModel, which is not installed here: pip install 'diffsda[latents]'") from None
    except Exception as e: raise BadInput(f'{folder}: not a first stage as diffusers keeps it, config.json and diffusion_pytorch_model.safetensors of a VQModel or AutoencoderKL ({str(e).strip().splitlines()[0]})') from None

def encode(model, frames): # (k, 3, h, w) uint8 -> (k, c, h / f, w / f) float16
    x = torch.from_numpy(frames).to(model.device).float().div_(127.5).sub_(1)
    out = model.encode(x)
    return (out.latents if hasattr(out, 'latents') else out.latent_dist.mode()).half().cpu().numpy()

@functools.lru_cache(4)
def clips(folder, split): return Clips(folder, split)

def sources(folder, args):
    info = read_info(folder)
    if info['modality'] != 'video': raise BadInput(f'{folder}: {info["modality"]}, expected prepared pictures')
    sides = {split: clips(str(folder), split) for split in info['splits']}
    keep = lambda data, i: {k: str(v[i]) for k, v in data.labels.items() if k != 'id'}
    return [Source(str(data.labels['id'][i]), str(folder), split, keep(data, i), {'i': i}) for split, data in sides.items() for i in range(len(data))]

def read(source, args):
    data, model, i = clips(source.path, source.split), first_stage(args.first_stage), source.part['i']
    for at in np.array_split(np.arange(data.lengths[i]), -(-data.lengths[i] // args.batch)): yield encode(model, data.take(np.array([i]), at[None])[0].numpy())

if __name__ == '__main__':
    p = parser(__doc__, 'NAME_latents', size=0)
    p.add_argument('--first_stage', required=True, help='folder of its weights')
    p.add_argument('--batch', type=int, default=16, help='frames encoded at a time')
    args = p.parse_args()
    args.workers = 0 # the device is one
    if args.batch < 1: p.exit(1, f'{p.prog}: --batch {args.batch}: expected 1 or more\n')
    try: info, model = read_info(args.folder), first_stage(args.first_stage)
    except BadInput as e: p.exit(1, f'{p.prog}: {e}\n')
    with torch.no_grad(): c, h, w = encode(model, np.zeros((1, *info['frame']), np.uint8)).shape[1:]
    keep = {k: info[k] for k in ('rate', 'source', 'licence', 'aligned') if k in info}
    run(args, f'{info["name"]}_latents', sources, read, dict(modality='latent', frame=[c, h, w], pixels=info['frame'], first_stage=str(args.first_stage), **keep))

"""Sprites: 1,296 pixel characters, painted from their sheets, 72 frames each.

FOLDER holds the sheets body/, bottomwear/, topwear/, hair/ and shoes/ of https://github.com/YingzhenLi/Sprites, or lies above them.
With --fetch they are cloned there first. Training on the sheets themselves (-p data_dir FOLDER) needs no preparation;
prepared clips are for programs that read only this format.
"""
import functools, subprocess
from pathlib import Path
from diffsda.factors import BadInput
from diffsda.preparation import Source, parser, run
from diffsda.sprites import ATTRIBUTES, Sprites

def fetch(folder, where): # to be made; git's address
    if list(folder.rglob('shoes')): return # fetched before
    if folder.exists(): raise BadInput(f'{folder} is there already, without the sheets; --fetch clones into a new folder')
    done = subprocess.run(['git', 'clone', '--depth', '1', where, str(folder)], capture_output=True, text=True)
    if done.returncode: raise BadInput(f'{where} could not be cloned to {folder} ({done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "git failed"}); fetch it by hand')

def sheets(folder): # the folder that holds body/, wherever below
    found = [p.parent for p in [folder / 'body', *sorted(folder.rglob('body'))] if p.is_dir() and (p.parent / 'shoes').is_dir()]
    if not found: raise BadInput(f'{folder}: no folders body and shoes in it, expected the sheets of https://github.com/YingzhenLi/Sprites (--fetch clones them)')
    return str(found[0])

cast = functools.lru_cache(2)(lambda folder, split, size: Sprites(folder, split, 'character', size=size))

def sources(folder, args):
    where, found = sheets(folder), []
    for split in ('train', 'test'):
        looks = [dict(zip(ATTRIBUTES, map(int, values))) for values in zip(*(cast(where, split, args.size).labels[k] for k in ATTRIBUTES))]
        found += [Source('-'.join(map(str, look.values())), where, split, look | {'character': '-'.join(map(str, look.values()))}, {'i': i}) for i, look in enumerate(looks)]
    return found

def read(source, args): yield cast(source.path, source.split, args.size).clip(source.part['i']).numpy()

if __name__ == '__main__':
    p = parser(__doc__, 'sprites')
    p.add_argument('--fetch', nargs='?', const='https://github.com/YingzhenLi/Sprites', default='', help='clone the sheets into FOLDER first, from this address')
    args = p.parse_args()
    if args.fetch:
        try: fetch(Path(args.folder), args.fetch)
        except BadInput as e: p.exit(1, f'{p.prog}: {e}\n')
        args.fetch = ''
    run(args, 'sprites', sources, read, dict(modality='video', frame=[3, args.size, args.size], rate=8., aligned=True, source='Sprites: https://github.com/YingzhenLi/Sprites', licence='CC-BY-SA 3.0 / GPL 3.0'), {'characters': 1296})

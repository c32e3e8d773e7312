"""Sprites: 1,296 pixel characters, composed from their sheets, 72 frames each.

FOLDER holds the sheets body/, bottomwear/, topwear/, hair/ and shoes/ of https://github.com/YingzhenLi/Sprites, or lies
above them. With --fetch they are cloned there first. Training on the sheets themselves (-p data_dir FOLDER) needs no
preparation; prepared clips are for programs that read only this format.
"""
import functools, subprocess
from diffsda.factors import BadInput, refuse
from diffsda.files import expanded, walk
from diffsda.preparation import Source, parser, run
from diffsda.sprites import ATTRIBUTES, Sprites

def fetch(folder, # Path, to be made
          where,  # address for git
         ):
    if any(p.parent.name == 'shoes' for p in walk(folder)[0]): return # fetched before
    if folder.exists(): refuse(folder, 'is there already, without the sheets', '', '--fetch clones into a new folder')
    done = subprocess.run(['git', 'clone', '--depth', '1', where, str(folder)], capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'git failed'
        refuse(where, f'could not be cloned to {folder} ({why})', '', 'fetch it by hand')

def sheets(folder): # Path -> str, the folder that holds body/, at any depth
    bodies = [folder / 'body', *dict.fromkeys(p.parent for p in walk(folder)[0] if p.parent.name == 'body')]
    found = [p.parent for p in bodies if p.is_dir() and (p.parent / 'shoes').is_dir()]
    if not found:
        refuse(folder, 'no folders body and shoes in it', 'the sheets of https://github.com/YingzhenLi/Sprites',
               '--fetch clones them')
    return str(found[0])

@functools.lru_cache(2)
def characters(folder, split, size): return Sprites(folder, split, 'character', size=size)

def sources(folder, args):
    where, found = sheets(folder), []
    for split in ('train', 'test'):
        columns = characters(where, split, args.size).labels
        for i, values in enumerate(zip(*(columns[k] for k in ATTRIBUTES))):
            labels = dict(zip(ATTRIBUTES, map(int, values)))
            name = '-'.join(map(str, labels.values()))
            found.append(Source(name, where, split, labels | {'character': name}, {'i': i}))
    return found

def read(source, args): yield characters(source.path, source.split, args.size).clip(source.part['i']).numpy()

if __name__ == '__main__':
    p = parser(__doc__, 'sprites')
    p.add_argument('--fetch', nargs='?', const='https://github.com/YingzhenLi/Sprites', default='',
                   help='clone the sheets into FOLDER first, from this address')
    args = p.parse_args()
    if args.fetch:
        try: fetch(expanded(args.folder), args.fetch)
        except BadInput as e: p.exit(1, f'{p.prog}: {e}\n')
        args.fetch = ''
    info = dict(modality='video', frame=[3, args.size, args.size], rate=8., aligned=True,
                source='Sprites: https://github.com/YingzhenLi/Sprites', licence='CC-BY-SA 3.0 / GPL 3.0')
    run(args, 'sprites', sources, read, info)

"""Navigation of the notebooks: a contents line in the long ones, previous · index · next under each, links where one is named.

    .venv/bin/python .ci/navigate.py            write it into the notebooks
    .venv/bin/python .ci/navigate.py --check    say what is missing, exit code 1

It touches markdown cells only, so executed outputs stay as they are."""
import json, re, sys
from pathlib import Path

nbs = Path(__file__).resolve().parent.parent / 'nbs'
SECTIONS = { # the order of reading, not of numbers: the model comes before the data that one needs
    'Start': 'index train results',
    'Factors and probability': '00_factors 01_viz 02_probability',
    'The mathematics': '10_sde 11_edm 12_samplers',
    'The networks': '20_layers 21_unet 22_encoder 23_mlp',
    'Model and training': '40_presets 41_model 42_training ablation',
    'New clips, hidden factors': '50_prior train_prior 51_traversal 52_explorer explorer',
    'Measuring': '60_metrics 61_judge 63_verification verification 66_prior_evaluation',
    'Data': '24_faces 32_toys 33_sprites 25_sound 35_vowels 36_speech 30_codec 31_clips 34_video 38_preparation 39_datasets',
    'High resolution': '26_first_stage train_first_stage latents',
    'Running experiments': '03_files 43_settings 65_experiment',
}
ORDER = ' '.join(SECTIONS.values()).split()
LONG = 36 # cells: from here on a notebook opens with its contents
MARK = '**Contents:** '

def source(cell): return ''.join(cell['source'])
def markdown(cells): return [c for c in cells if c['cell_type'] == 'markdown']
def title(cells): return re.search(r'^# (.+)$', '\n'.join(map(source, markdown(cells))), re.M)[1].strip()
def anchor(heading): return re.sub(r'\s', '-', heading.strip())

def outside_code(pattern, replace, text):
    "Substitute where no code block stands."
    parts = re.split(r'(^```.*?^```|^    \S.*?$)', text, flags=re.M | re.S)
    return ''.join(p if i % 2 else re.sub(pattern, replace, p) for i, p in enumerate(parts))

def linked(text, here, titles):
    "`22_encoder.ipynb`, and a notebook's name in backticks, as links."
    def to(m):
        name = m[1]
        return m[0] if name not in titles or name == here else f'[{titles[name] if re.match(r"[0-9]", name) else name + ".ipynb"}]({name}.ipynb)'
    return outside_code(r'(?<!\[)`(?:nbs/)?(\w+)\.ipynb`(?!\])', to, text)

def contents(cells):
    heads = [h for c in markdown(cells) for h in re.findall(r'^## (.+)$', source(c), re.M)]
    plain = lambda h: re.sub(r'[`*]', '', h)
    return MARK + ' · '.join(f'[{plain(h)}](#{anchor(h)})' for h in heads)

def footer(name, names, titles):
    at = names.index(name)
    link = lambda n, arrow: f'[{arrow[0]}{titles[n]}{arrow[1]}]({n}.ipynb)'
    parts = [link(names[at - 1], ('← ', '')) if at else '', '[Index](index.ipynb)' if name != 'index' else '', link(names[at + 1], ('', ' →')) if at + 1 < len(names) else '']
    return '---\n\n' + ' · '.join(p for p in parts if p)

def navigate(name, nb, names, titles):
    cells = nb['cells'] = [c for c in nb['cells'] if not (c['cell_type'] == 'markdown' and source(c).startswith('---\n\n[') and '](index.ipynb)' in source(c) + '](index.ipynb)' * (name == 'index'))]
    for c in markdown(cells): c['source'] = linked(source(c), name, titles).splitlines(True)
    for c in [c for c in markdown(cells) if source(c).startswith(MARK)]: cells.remove(c)
    if len(cells) >= LONG and name != 'index':
        at = next(i for i, c in enumerate(cells) if c['cell_type'] == 'markdown' and re.search(r'^# ', source(c), re.M))
        cells.insert(at + 1, dict(cell_type='markdown', id=f'{name[:12]}-contents', metadata={}, source=contents(cells).splitlines(True)))
    cells.append(dict(cell_type='markdown', id=f'{name[:12]}-nav', metadata={}, source=footer(name, names, titles).splitlines(True)))
    return nb

def main(check=False):
    found = {p.stem: json.loads(p.read_text()) for p in nbs.glob('*.ipynb')}
    unknown = sorted(set(found) - set(ORDER))
    if unknown: sys.exit(f'.ci/navigate.py: {", ".join(unknown)} has no place in ORDER')
    names = [n for n in ORDER if n in found]
    titles = {n: title(nb['cells']) for n, nb in found.items()}
    stale = []
    for name, nb in found.items():
        path = nbs / f'{name}.ipynb'
        text = json.dumps(navigate(name, nb, names, titles), indent=1, sort_keys=True, ensure_ascii=False) + '\n'
        if text == path.read_text(): continue
        stale.append(name)
        if not check: path.write_text(text)
    if check and stale: sys.exit(f'run .ci/navigate.py: the navigation of {", ".join(sorted(stale))} is not up to date')

if __name__ == '__main__': main('--check' in sys.argv[1:])

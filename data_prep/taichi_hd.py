"""TaiChi-HD: chunks of YouTube videos in which somebody does tai chi.

FOLDER holds what the scripts of https://github.com/AliaksandrSiarohin/video-preprocessing make, in either of two stages:
the whole videos VIDEO_ID.mp4 with their taichi-metadata.csv (video_id, start, end, bbox, fps, width, height), which are
cut and cropped here; or the clips already cut, train/ and test/ with mp4 files or folders of PNGs.
"""
import csv, functools
from pathlib import Path
from diffsda.factors import BadInput
from diffsda.preparation import Source, parser, run, split_by
from diffsda.video import PICTURES, Video, at_rate, cropped, open_frames, square

COLUMNS = ('video_id', 'start', 'end', 'bbox', 'fps', 'width', 'height')
open_once = functools.lru_cache(1)(Video) # the chunks of one video follow each other

def sources(folder, args):
    table = Path(args.metadata) if args.metadata else next(iter(sorted(folder.glob('*metadata*.csv'))), None)
    if table is None: return cut_already(folder)
    try: rows = list(csv.DictReader(open(table, newline='', encoding='utf-8', errors='replace')))
    except OSError as e: raise BadInput(f'{table}: cannot be opened ({e.strerror}); it is part of the video-preprocessing scripts') from None
    lacks = [c for c in COLUMNS if not rows or rows[0].get(c) is None]
    if lacks: raise BadInput(f'{table}: no column {", ".join(lacks)}, expected {", ".join(COLUMNS)}; take taichi-metadata.csv again from github.com/AliaksandrSiarohin/video-preprocessing')
    side = split_by([r['video_id'] for r in rows], .1)
    return [Source('#'.join([r['video_id'], *(str(r[k]).zfill(6) for k in ('start', 'end'))]), str(folder / f'{r["video_id"]}.mp4'), r.get('partition') or side[r['video_id']],
                   {'video': r['video_id']}, {k: r[k] for k in COLUMNS[1:]}) for r in rows]

def cut_already(folder):
    clips = [(p, side) for side in ('train', 'test') for p in sorted((folder / side).glob('*')) if p.suffix.lower() in ('.mp4', '.mov') or p.is_dir() and any(f.suffix.lower() in PICTURES for f in p.iterdir())]
    if not clips: raise BadInput(f'{folder}: neither a *metadata*.csv with its videos nor train/ and test/ with clips; see data_prep/README.md for where TaiChi-HD comes from')
    return [Source(p.name if p.is_dir() else p.stem, str(p), side, {'video': p.name.split('#')[0]}) for p, side in clips]

def read(source, args):
    if not Path(source.path).exists(): raise BadInput(f'{source.path}: not there (the video is gone from YouTube, or its download failed)')
    if not source.part:
        film = open_frames(source.path)
        for part in film.read(): yield cropped(part, None, args.size)
        return
    film = open_once(source.path)
    try:
        fps, width, height, start, end = (float(source.part[k]) for k in ('fps', 'width', 'height', 'start', 'end'))
        left, top, right, bottom = (float(v) for v in source.part['bbox'].split('-'))
        x, y = film.width / width, film.height / height # the videos may have been fetched at another size
        start, end = (start - .5) / fps, (end - .5) / fps # half a frame earlier, for 29.97 is short for 30000/1001
    except (ValueError, TypeError, AttributeError, ZeroDivisionError): raise BadInput(f'chunk {source.id}: {source.part} in the metadata are not numbers (bbox: LEFT-TOP-RIGHT-BOTTOM)') from None
    crop = square((left * x, top * y, right * x, bottom * y), film.height, film.width)
    for part in film.read(at_rate(film.times, 0, start, end)): yield cropped(part, crop, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'taichi_hd')
    p.add_argument('--metadata', default='', help="the table of chunks; '': the *metadata*.csv in FOLDER, if there is one")
    args = p.parse_args()
    run(args, 'taichi_hd', sources, read, dict(modality='video', frame=[3, args.size, args.size], rate=25., source='TaiChi-HD: https://github.com/AliaksandrSiarohin/video-preprocessing', licence='none known; the videos belong to their uploaders'),
        {'chunks of 128 to 1,024 frames, nine tenths of them to train': 3081}, least=10)

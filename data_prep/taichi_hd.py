"""TaiChi-HD: chunks of YouTube videos in which somebody does tai chi.

FOLDER holds what the scripts of https://github.com/AliaksandrSiarohin/video-preprocessing make, in either of two
stages: the whole videos VIDEO_ID.mp4 with their taichi-metadata.csv (video_id, start, end, bbox, fps, width, height),
which are cut and cropped here; or the clips already cut, train/ and test/ with mp4 files or folders of PNGs.
"""
from pathlib import Path
from diffsda.clips import read_table
from diffsda.factors import refuse
from diffsda.files import expanded
from diffsda.preparation import Source, check_there, left_over, open_once, parser, run, split_by, videos_of
from diffsda.video import IMAGES, VIDEOS, at_rate, cropped, open_frames, square

COLUMNS = ('video_id', 'start', 'end', 'bbox', 'fps', 'width', 'height')

def sources(folder, args):
    table = expanded(args.metadata) if args.metadata else next(iter(sorted(folder.glob('*metadata*.csv'))), None)
    if table is None: return cut_already(folder)
    rows, have = read_chunks(table), videos_of(folder)
    side = split_by([r['video_id'] for r in rows], .1)
    found = []
    for r in rows:
        video = r['video_id']
        name = '#'.join([video, *(str(r[k]).zfill(6) for k in ('start', 'end'))])
        split, part = r.get('partition') or side[video], {k: r[k] for k in COLUMNS[1:]}
        found.append(Source(name, str(have.get(video, folder / f'{video}.mp4')), split, {'video': video}, part))
    return found

def read_chunks(path): # of the metadata -> list of dicts
    again = 'take taichi-metadata.csv again from github.com/AliaksandrSiarohin/video-preprocessing'
    rows = read_table(path, COLUMNS, again)
    lacks = [c for c in COLUMNS if not rows or rows[0].get(c) is None]
    if lacks:
        refuse(path, f'no column {", ".join(lacks)}', ', '.join(COLUMNS), again)
    return rows

def is_clip(path): # a video, or a folder of images
    if path.is_dir(): return any(f.suffix.lower() in IMAGES for f in path.iterdir())
    return path.suffix.lower() in VIDEOS

def cut_already(folder):
    found, lost = [], []
    for side in ('train', 'test'):
        inside = [p for p in sorted((folder / side).glob('*')) if not p.name.startswith('.')]
        taken = [p for p in inside if is_clip(p)]
        lost += left_over(folder, [p for p in inside if p.is_file()], [], taken)
        found += [Source(p.name if p.is_dir() else p.stem, str(p), side, {'video': p.name.split('#')[0]})
                  for p in taken]
    if not found:
        refuse(folder, 'neither a *metadata*.csv with its videos nor train/ and test/ with clips', '',
               'see data_prep/README.md for where TaiChi-HD comes from')
    return found + lost

def where_and_when(source, film): # -> (left, top, side), start and end in seconds
    try:
        fps, width, height, start, end = (float(source.part[k]) for k in ('fps', 'width', 'height', 'start', 'end'))
        left, top, right, bottom = (float(v) for v in source.part['bbox'].split('-'))
        x, y = film.width / width, film.height / height # the videos may have been fetched at another size
        start, end = (start - .5) / fps, (end - .5) / fps # half a frame earlier, for 29.97 is short for 30000/1001
    except (ValueError, TypeError, AttributeError, ZeroDivisionError):
        refuse(f'chunk {source.id}', f'{source.part} in the metadata are not numbers (bbox: LEFT-TOP-RIGHT-BOTTOM)', '')
    return square((left * x, top * y, right * x, bottom * y), film.height, film.width), start, end

def read(source, args):
    check_there(source.path, 'the video is gone from YouTube, or its download failed')
    if not source.part:
        for part in open_frames(source.path).read(): yield cropped(part, None, args.size)
        return
    film = open_once(source.path)
    box, start, end = where_and_when(source, film)
    for part in film.read(at_rate(film.times, 0, start, end)): yield cropped(part, box, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'taichi_hd')
    p.add_argument('--metadata', default='',
                   help="the table of chunks; '' is the *metadata*.csv in FOLDER, if there is one")
    args = p.parse_args()
    info = dict(modality='video', frame=[3, args.size, args.size], rate=25.,
                source='TaiChi-HD: https://github.com/AliaksandrSiarohin/video-preprocessing',
                licence='none known; the videos belong to their uploaders')
    expected = {'chunks of 128 to 1,024 frames, nine tenths of them to train': 3081}
    run(args, 'taichi_hd', sources, read, info, expected, least=10)

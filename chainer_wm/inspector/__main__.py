"""The inspector's command line."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import sys
import types
from collections.abc import Sequence
from typing import Any

from chainer_wm import files
from chainer_wm.inspector import folders, pictures, report, summaries
from chainer_wm.inspector.export import export
from chainer_wm.inspector.verify import verify
from chainer_wm.inspector.words import size

OK, DAMAGED, USAGE = 0, 1, 2
SWITCHES = {
    '--verify': 'reread every byte; exit with 1 if anything is damaged',
    '--all': 'read the actions of every episode, not of a sample',
    '--json': 'print JSON instead of text',
}
VALUES = {
    '--frames': (int, None, 'EPISODE', 'write a contact sheet (PNG)'),
    '--gif': (int, None, 'EPISODE', 'write an animation (GIF)'),
    '--out': (
        pathlib.Path,
        None,
        'FILE',
        'where the picture goes (default: episode-NUMBER.png or .gif)',
    ),
    '--every': (
        int,
        None,
        'N',
        f'contact sheet: show every N-th step (default: about {pictures.CELLS} frames)',
    ),
    '--columns': (int, 8, 'N', 'contact sheet: frames per row (default: 8)'),
    '--fps': (float, pictures.FPS, 'N', 'animation: frames per second (default: 35, as Doom)'),
    '--serve': (int, None, 'PORT', 'show it all as a web page, on this machine (0: a free port)'),
    '--host': (str, '127.0.0.1', 'NAME', 'address to serve at; another than this needs a token'),
    '--token': (str, None, 'WORDS', "the page's token (default: a new one each time)"),
    '--scale': (int, 4, 'N', 'animation: enlargement (default: 4)'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the inspector; returns its exit status.

    0: fine, 1: --verify found something damaged, 2: wrong path, episode or flag.
    """
    argv = sys.argv[1:] if argv is None else argv
    exports = argv[:1] == ['export']
    options = None if exports else _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='replace')  # a bar on an ASCII terminal
    try:
        if options is None:
            export(argv[1:])
            return OK
        return _run(options)
    except folders.InspectorError as error:
        print(f'error: {error}', file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m chainer_wm.inspector',
        description='Look into a rollout store, a run (data/EXPERIMENT/RUN) or a folder of runs.',
        epilog='python -m chainer_wm.inspector export PATH --to csv, gif, png, curves, '
        'sequence, minari or tensorboard writes what the page shows: see export --help.',
    )
    add = parser.add_argument
    add('path', type=pathlib.Path, help='the folder to look into')
    for flag, text in SWITCHES.items():
        add(flag, action='store_true', help=text)
    for flag, (kind, default, metavar, text) in VALUES.items():
        add(flag, type=kind, default=default, metavar=metavar, help=text)
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.serve is not None:
        _server().serve(options.path, options.serve, options.host, options.token)
        return OK
    kind = folders.kind(options.path)
    if options.frames is None and options.gif is None:
        if options.verify:
            return _verify(options)
        _summary(options, kind)
        return OK
    if options.out and None not in (options.frames, options.gif):
        raise folders.InspectorError(
            '--out names one file, but --frames and --gif were both given'
        )
    if options.frames is not None:
        target = pictures.write_sheet(
            options.path, options.frames, options.out, options.every, options.columns
        )
        print(f'wrote {target}')
    if options.gif is not None:
        target, film = pictures.write_gif(
            options.path, options.gif, options.out, options.fps, options.scale
        )
        which = f', of {film.every} steps each' if film.every > 1 else ''
        print(f'wrote {target} ({film.frames} frames{which}, {size(film.size)})')
    return OK


def _server() -> types.ModuleType:
    """The web server; the terminal needs none of what it needs."""
    try:
        return importlib.import_module('chainer_wm.inspector.server')
    except ModuleNotFoundError as error:
        raise folders.InspectorError(
            f'the page needs the package {error.name}: install the extra "inspector" '
            "(pip install 'chainer-wm[inspector]'; sh setup.sh does it too)"
        ) from error


def _summary(options: argparse.Namespace, kind: str) -> None:
    summary: dict[str, Any]
    if kind == 'store':
        sample = None if options.all else summaries.SAMPLE
        summary = summaries.store_summary(options.path, sample)
        text = report.store_report
    elif kind == 'run':
        summary = summaries.run_summary(options.path)
        text = report.run_report
    else:
        summary = summaries.listing(options.path)
        text = report.listing_report
    _print(summary, text(summary), options.json)


def _verify(options: argparse.Namespace) -> int:
    result = verify(options.path, progress=sys.stderr.isatty() and not options.json)
    lines = [f'{each.file}: {each.reason}' for each in result.damage]
    count = f'{result.files} files, {result.episodes} of them episodes'
    lines += [
        f'{len(lines)} faults in {count}'
        if lines
        else f'every byte of {count} is as it was written'
    ]
    _print(
        {
            'path': str(options.path),
            'files': result.files,
            'episodes': result.episodes,
            'damage': [each._asdict() for each in result.damage],
        },
        '\n'.join(lines),
        options.json,
    )
    return DAMAGED if result.damage else OK


def _print(summary: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        text = json.dumps(summary, indent=2, default=files.to_plain)
    print(text)


if __name__ == '__main__':
    sys.exit(main())

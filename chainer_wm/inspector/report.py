"""Summaries as text, 80 columns wide, without colour codes."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from chainer_wm.inspector.words import (
    NAMED,
    WIDTH,
    bars,
    duration,
    field,
    histogram,
    named,
    number,
    pairs,
    plain,
    size,
    wrapped,
)

NAME = 26  # characters for the name of a run in a table


def store_report(summary: Mapping[str, Any]) -> str:
    """A rollout store on about a page."""
    lines = [f'rollout store {summary["path"]}', '']
    lines += field('game', summary['game'] or 'not said (no manifest)')
    lines += field('settings', pairs(summary['settings'] or {}))
    lines += field('seed', summary['seed'])
    lines += field('versions', pairs(summary['versions'] or {}))
    lines += field('episodes', _episodes(summary))
    lines += field('on disk', _disk(summary))
    lines += field('integrity', _integrity(summary))
    if summary['episodes']:
        returns, lengths = summary['returns'], summary['lengths']
        lines += ['', *_distribution('return of an episode', returns)]
        lines += histogram(returns['histogram'])
        lines += ['', *_distribution('length in steps', lengths)]
        if lengths['histogram'] != returns['histogram']:
            lines += histogram(lengths['histogram'])
        lines += ['', *_actions(summary)]
    return '\n'.join(lines)


def run_report(summary: Mapping[str, Any]) -> str:
    """A run: settings, stages, scores, stores, figures, end of the log."""
    lines = [f'run {summary["run"]} of {summary["experiment"]}', f'{summary["path"]}', '']
    lines += field('settings', pairs(summary['config']))
    lines += field('versions', pairs(summary['versions']))
    lines += field(
        'on disk', ', '.join(f'{name} {size(count)}' for name, count in summary['disk'].items())
    )
    lines += ['', *_stages(summary['stages'])]
    lines += ['', *_scores(summary['scores'])]
    for store in summary['stores']:
        lines += ['', *_brief_store(store)]
    if summary['figures']:
        lines += ['', 'figures', *wrapped(', '.join(summary['figures']))]
    if summary['log']:
        lines += ['', 'end of log.jsonl']
        lines += [line for row in summary['log'] for line in _log_line(row)]
    if summary['problems']:
        lines += ['', 'problems', *named(summary['problems'])]
    return '\n'.join(lines)


def listing_report(summary: Mapping[str, Any]) -> str:
    """The runs of an experiment as a table."""
    lines = [
        f'{len(summary["runs"])} runs in {summary["path"]}',
        '',
        f'  {"run":<{NAME}}{"model":<6}{"seed":>5} {"stages":>7}'
        f'{"time":>10}{"score":>11}{"random":>11}',
    ]
    for row in summary['runs']:
        lines += _table_row(row) + named(row['problems'])
    return '\n'.join(lines)


def _table_row(row: Mapping[str, Any]) -> list[str]:
    name = f'  {row["run"]}'
    lines = [name] if len(name) > NAME else []
    start = f'{"" if lines else name:<{NAME + 2}}'
    if row['kind'] == 'store':
        return [*lines, f'{start}rollout store, {size(row["bytes"])}']
    stages = f'{len(row["done"])}/{len(row["stages"])} done'
    return [
        *lines,
        f'{start}{row["model"] or "-":<6}{plain(row["seed"]):>5} '
        f'{stages if row["stages"] else "-":>8}{duration(row["seconds"]):>9}'
        f'{_score(row["evaluation"]):>11}{_score(row["random_baseline"]):>11}',
    ]


def _episodes(summary: Mapping[str, Any]) -> str:
    if not summary['episodes']:
        return 'none yet'
    text = (
        f'{summary["episodes"]:,} (numbers {summary["first"]} to '
        f'{summary["last"]}), {summary["steps"]:,} steps; '
        f'{summary["terminated"]:,} ended by the game, '
        f'{summary["truncated"]:,} by a time limit'
    )
    missing = summary['missing']
    if missing:
        some = ', '.join(map(str, missing[:NAMED]))
        more = ', ...' if len(missing) > NAMED else ''
        text += f'; {len(missing):,} missing before the last ({some}{more})'
    return text


def _disk(summary: Mapping[str, Any]) -> str:
    disk, steps = summary['disk'], max(1, summary['steps'])
    text = f'{size(disk["bytes"])}, {size(disk["episode_bytes"] / steps)} per step'
    for key, words in (('unlisted_files', 'not yet listed'), ('unfinished_files', 'half written')):
        if disk[key]:
            text += f'; {disk[key]} episode files {words}'
    return text


def _integrity(summary: Mapping[str, Any]) -> str:
    aside = summary['set_aside']
    earlier = f'; {len(aside)} damaged files were set aside earlier' if aside else ''
    problems = summary['problems']
    if not problems:
        return f'every file is there and as long as listed (--verify rereads the bytes){earlier}'
    more = f' and {len(problems) - NAMED} more' if len(problems) > NAMED else ''
    return f'DAMAGED: {"; ".join(problems[:NAMED])}{more}{earlier}'


def _distribution(title: str, values: Mapping[str, Any]) -> list[str]:
    return [
        f'{title}: {values["mean"]:.4g} ± {values["std"]:.4g} '
        f'({number(values["min"])} to {number(values["max"])})'
    ]


def _actions(summary: Mapping[str, Any]) -> list[str]:
    actions = summary['actions']
    if actions is None:
        return []
    read = actions['episodes_read']
    which = (
        f'all {read:,} episodes'
        if read == summary['episodes']
        else f'a sample of {read:,} episodes; --all reads every one'
    )
    lines = [f'actions ({actions["steps"]:,} steps, {which})']
    for axis, row in enumerate(actions['dimensions']):
        lines += [
            f'  dimension {axis}: {row["mean"]:.3g} ± {row["std"]:.3g} '
            f'({number(row["min"])} to {number(row["max"])})'
        ]
        if 'shares' in row:
            lines += bars(
                list(row['shares']),
                list(row['shares'].values()),
                [f'{share:.1%}' for share in row['shares'].values()],
            )
        else:
            lines += histogram(row['histogram'])
        if 'thirds' in row:
            left, stay, right = row['thirds']
            lines += [f'  in thirds: left {left:.1%}, stay {stay:.1%}, right {right:.1%}']
    return lines


def _stages(stages: Mapping[str, Mapping]) -> list[str]:
    if not stages:
        return ['stages: none begun']
    total = sum(row.get('seconds', 0) for row in stages.values())
    rows = [
        f'  {name:<14}{"done" if row.get("done") else "unfinished":<12}'
        f'{duration(row.get("seconds", 0)):>10}'
        for name, row in stages.items()
    ]
    return ['stages', *rows, f'  {"":<26}{duration(total):>10}']


def _scores(scores: Mapping[str, Mapping]) -> list[str]:
    if not scores:
        return ['results: none yet']
    lines = ['results (mean ± std)']
    for name, row in scores.items():
        lines += [f'  {name:<30}{_score(row):>14}  of {row["episodes"]} episodes']
    agent, random = scores.get('evaluation'), scores.get('random_baseline')
    if agent and random:
        lines += [
            f'  the agent scores {agent["mean"] - random["mean"]:+.0f} '
            f'against random {_z(agent, random)}'
        ]
    return lines


def _z(first: Mapping, second: Mapping) -> str:
    error = sum(row['std'] ** 2 / max(1, row['episodes']) for row in (first, second)) ** 0.5
    if not error:
        return ''
    gap = (first['mean'] - second['mean']) / error
    return f'({gap:+.1f} standard errors)'


def _score(row: Mapping | None) -> str:
    return f'{row["mean"]:.0f} ± {row["std"]:.0f}' if row else '-'


def _brief_store(store: Mapping[str, Any]) -> list[str]:
    lines = [f'rollouts in {store["path"]}']
    values = store['returns']
    if store['episodes']:
        lines += wrapped(
            f'{_episodes(store)}; return {values["mean"]:.4g} ± '
            f'{values["std"]:.4g}; {_disk(store)}'
        )
    else:
        lines += ['  none yet']
    return lines + wrapped(_integrity(store))


def _log_line(row: Mapping[str, Any]) -> Iterable[str]:
    row = dict(row)
    when = row.pop('time', None)
    stamp = ''
    if isinstance(when, (int, float)):
        stamp = f'{datetime.datetime.fromtimestamp(when):%m-%d %H:%M:%S}  '
    text = stamp + ' '.join(f'{name}={plain(value)}' for name, value in row.items())
    return wrapped(textwrap.shorten(text, 3 * WIDTH, placeholder=' ...'))

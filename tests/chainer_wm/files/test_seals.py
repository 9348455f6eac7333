"""Checksums of JSON, of lists and of arrays, and what is refused of an npz."""

import errno
import gc
import io
import json
import zipfile

import numpy as np
import pytest

from chainer_wm import files
from chainer_wm.files import jsonlines
from chainer_wm.files.npz import check_finite, read_array, read_npz, write_array, write_npz


def test_any_json_reader_reads_a_sealed_file(tmp_path):
    files.write_json(tmp_path / 'a.json', {'a': [1, 2.5]})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'a': [1, 2.5]}
    assert files.read_json(tmp_path / 'a.json') == {'a': [1, 2.5]}


def test_every_bit_that_changes_a_sealed_value_is_noticed(tmp_path):
    path = tmp_path / 'a.json'
    files.write_json(path, {'score': 123, 'name': 'x'})
    data = path.read_bytes()
    for at in range(8 * len(data)):
        held = bytearray(data)
        held[at // 8] ^= 1 << at % 8
        path.write_bytes(held)
        try:
            assert files.read_json(path) == {'score': 123, 'name': 'x'}
        except files.FileError as error:
            assert 'a.json' in str(error)


def test_an_edited_file_says_how_it_is_meant(tmp_path):
    path = tmp_path / 'a.json'
    files.write_json(path, {'score': 123})
    path.write_text(path.read_text().replace('123', '124'))
    with pytest.raises(files.FileError, match='remove the blanks'):
        files.read_json(path)
    path.write_text(path.read_text().rstrip())
    assert files.read_json(path) == {'score': 124}


@pytest.mark.parametrize('text', ['[]', '3', 'null', '[' * 100_000, '\x00', ''])
def test_what_is_no_object_is_refused(text, tmp_path):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(files.FileError, match=r'a\.json'):
        files.read_json(tmp_path / 'a.json')


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / 'a.json').write_bytes(b'{"a": "\xff"}')
    with pytest.raises(files.FileError, match='utf-8'):
        files.read_json(tmp_path / 'a.json')


def test_a_line_in_the_middle_stops_a_strict_reader(tmp_path):
    path = tmp_path / 'a.jsonl'
    for number in range(3):
        jsonlines.append_line(path, {'number': number})
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 7'))
    with pytest.warns(UserWarning, match='line 2'):
        assert [line['number'] for line in jsonlines.read_lines(path)] == [0, 2]
    with pytest.raises(files.FileError, match='line 2'):
        list(jsonlines.read_lines(path, strict=True))


def test_numpy_reads_an_array_with_its_checksum(tmp_path):
    path = tmp_path / 'a.npy'
    write_array(path, np.arange(5.0))
    assert np.array_equal(np.load(path), np.arange(5.0))
    assert np.array_equal(read_array(path), np.arange(5.0))
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(files.FileError, match='checksum'):
        read_array(path)


def packed(name, data, method=zipfile.ZIP_STORED):
    held = io.BytesIO()
    with zipfile.ZipFile(held, 'w', method) as archive:
        archive.writestr(name, data)
    return held.getvalue()


def array(value):
    held = io.BytesIO()
    np.save(held, value)
    return held.getvalue()


@pytest.mark.parametrize('name', ['../a.npy', '/a.npy', 'a/../../b.npy', 'a.txt'])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(files.FileError, match='no name of an array'):
        read_npz('x.npz', packed(name, array(np.ones(2))))


def test_a_shape_larger_than_the_file_takes_no_memory():
    data = array(np.ones(2)).replace(b'(2,), ', b'(10**9,), ')
    with pytest.raises(files.FileError, match=r'x\.npz is no readable npz'):
        read_npz('x.npz', packed('a.npy', data))
    data = array(np.ones(2)).replace(b'(2,), }      ', b'(200000,), } ')
    with pytest.raises(files.FileError, match='takes 1600000 bytes'):
        read_npz('x.npz', packed('a.npy', data))


def test_pickles_are_refused():
    with pytest.raises(files.FileError, match='dtype object'):
        read_npz('x.npz', packed('a.npy', array(np.array([{}], object))))


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(value):
    with pytest.raises(files.FileError, match='1 of the 3 numbers of W'):
        check_finite('x.npz', {'W': np.array([1, value, 2])})


@pytest.mark.filterwarnings('error::pytest.PytestUnraisableExceptionWarning')
def test_a_full_disk_is_one_error_and_nothing_behind_it(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    write_npz(tmp_path / 'a.npz', lambda file: np.savez(file, a=np.ones(3)))
    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(OSError, match=r'No space left.*a\.npz'):
        write_npz(tmp_path / 'a.npz', lambda file: np.savez(file, a=np.zeros(3)))
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ['a.npz']
    assert read_npz(tmp_path / 'a.npz')['a'].tolist() == [1, 1, 1]

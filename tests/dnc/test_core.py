import chainer
import chainer.functions as F
import dnc_case
import dnc_oracle
import numpy as np
import pytest
from chainer import Variable, as_array
from dnc_case import random_state

from dnc import DNC, DNCState
from dnc.access import AccessState, access, interface_size, interface_slices, parse_interface

DTYPES = [np.float32, np.float64]


def make(dtype=np.float64, **options):
    return dnc_case.make(3, dtype, **options)


def loss_of(ys, state):
    """A scalar that reaches every output and every field of the state."""
    fields = [F.sum(F.sin(3 * field)) for field in state]
    return F.sum(F.sin(2 * ys)) + sum(fields)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'output_size': None},
        {'layers': 3},
        {'link_sparsity': 2},
        {'link_sparsity': 2, 'link_scaling': True},
        {'read_heads': 1},
        {'memory_length': 1},
    ],
    ids=str,
)
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('batch', [1, 3])
def test_matches_the_plain_loops(rng, dtype, batch, options):
    net = make(dtype, **options)
    xs = rng.normal(size=(6, batch, 3)).astype(dtype)
    ys, state = net.sequence(xs, engine='reference')
    assert ys.dtype == dtype and ys.shape == (6, batch, net.output_size)
    trace = net.trace(xs, engine='reference')
    tolerance = 1e-10 if dtype == np.float64 else 2e-3
    for lane in range(batch):
        expected, history = dnc_oracle.run(net, xs[:, lane])
        np.testing.assert_allclose(ys.array[:, lane], expected, rtol=tolerance, atol=tolerance)
        for name in (
            'memory',
            'usage',
            'precedence',
            'link',
            'write_weights',
            'read_weights',
            'read_vectors',
        ):
            steps = np.array([step[name] for step in history])
            np.testing.assert_allclose(trace[name][:, lane], steps, rtol=tolerance, atol=tolerance)
            np.testing.assert_array_equal(
                as_array(getattr(state, name))[lane], trace[name][-1, lane]
            )


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('batch', [1, 4])
@pytest.mark.parametrize('k', [None, 3])
def test_invariants(rng, dtype, batch, k):
    net = make(dtype, memory_length=8, link_sparsity=k)
    xs = rng.normal(size=(30, batch, 3)).astype(dtype) * 3
    trace = net.trace(xs)
    assert all(value.dtype == dtype for value in trace.values())
    assert all(np.isfinite(value).all() for value in trace.values())
    above_one = 1 + 10 * np.finfo(dtype).eps
    for name in ('write_weights', 'read_weights', 'precedence', 'allocation'):
        assert (trace[name] >= 0).all()
        assert (trace[name].sum(axis=-1) <= above_one).all()
    for name in ('usage', 'retention'):
        assert (trace[name] >= 0).all() and (trace[name] <= above_one).all()
    link = trace['link']
    assert (link >= 0).all()
    assert (link.sum(axis=-1) <= above_one).all()
    if k is None:  # sharpened precedence does not bound the columns
        assert (link.sum(axis=-2) <= above_one).all()
    assert not np.diagonal(link, axis1=-2, axis2=-1).any()
    assert not link[0].any()  # nothing was written before the first write
    assert link.any()


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'link_sparsity': 3},
        {'link_sparsity': 3, 'link_scaling': True},
        {'layers': 2, 'output_size': None},
    ],
    ids=str,
)
def test_gradients_against_finite_differences(rng, options):
    net = make(**options)
    inputs = [rng.normal(size=(4, 2, 3)), *random_state(net, 2, rng)]
    reset = np.zeros((4, 2))
    reset[2, 1] = 1

    def value(*arrays):
        ys, state = net.sequence(arrays[0], DNCState(*arrays[1:]), reset, 'reference')
        return loss_of(ys, state)

    variables = [Variable(array) for array in inputs]
    net.cleargrads()
    value(*variables).backward()
    leaves = [(v.array, v.grad) for v in variables]
    leaves += [(p.array, p.grad) for p in net.params()]
    for array, gradient in leaves:  # along one random direction each
        direction = rng.normal(size=array.shape)
        original, values = array.copy(), []
        for eps in (1e-6, -1e-6):
            array[...] = original + eps * direction
            with chainer.no_backprop_mode():
                values.append(float(value(*inputs).array))
        array[...] = original
        slope = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('k', [None, 3])
def test_every_part_of_the_interface_learns(rng, k):
    heads, width = 2, 4
    net = make(read_heads=heads, memory_width=width, link_sparsity=k)
    state = AccessState(*map(Variable, random_state(net, 2, rng)[2:-1]))
    xis = []
    for _ in range(3):
        xis.append(Variable(rng.normal(size=(2, interface_size(heads, width)))))
        r, state, _ = access(parse_interface(xis[-1], heads, width), state, net._link_update())
    F.sum(r * rng.normal(size=r.shape)).backward()
    for part in interface_slices(heads, width):
        assert xis[1].grad[:, part].all()


def test_interface_slices_cover_xi_in_order():
    slices = interface_slices(4, 64)
    assert slices[0].start == 0
    assert [s.stop for s in slices[:-1]] == [s.start for s in slices[1:]]
    assert slices[-1].stop == interface_size(4, 64) == 471


@pytest.mark.parametrize('dtype', DTYPES)
def test_zero_inputs_keep_gradients_finite(dtype):
    net = make(dtype)
    for param in net.params():
        param.array[...] = 0
    ys, state = net.sequence(np.zeros((3, 2, 3), dtype), engine='reference')
    net.cleargrads()
    loss_of(ys, state).backward()
    assert all(np.isfinite(param.grad).all() for param in net.params())


@pytest.mark.parametrize('k', [None, 2])
def test_reset_is_starting_afresh(rng, k):
    net = make(link_sparsity=k)
    xs = rng.normal(size=(6, 3, 3))
    reset = np.zeros((6, 3), np.int32)
    reset[3, 1] = 1
    before = DNCState(*map(Variable, random_state(net, 3, rng)))
    ys, state = net.sequence(xs, before, reset, 'reference')
    afresh, last = net.sequence(xs[3:, 1:2], None, None, 'reference')
    plain, _ = net.sequence(xs, before, None, 'reference')
    np.testing.assert_allclose(ys.array[3:, 1:2], afresh.array, atol=1e-12)
    for got, expected in zip(state, last):
        np.testing.assert_allclose(got.array[1:2], expected.array, atol=1e-12)
    np.testing.assert_array_equal(ys.array[:, ::2], plain.array[:, ::2])
    np.testing.assert_array_equal(ys.array[:3], plain.array[:3])


def test_steps_are_the_sequence(rng):
    net = make()
    xs = rng.normal(size=(5, 2, 3))
    ys, last = net.sequence(xs)
    state = net.initial_state(2)
    for t, x in enumerate(xs):
        y, state = net.step(x, state)
        np.testing.assert_allclose(y.array, ys.array[t], atol=1e-12)
    for got, expected in zip(state, last):
        np.testing.assert_allclose(got.array, expected.array, atol=1e-12)


def test_lanes_do_not_touch(rng):
    net = make()
    xs = rng.normal(size=(5, 3, 3))
    together, _ = net.sequence(xs)
    alone, _ = net.sequence(xs[:, 1:2])
    np.testing.assert_allclose(together.array[:, 1:2], alone.array, atol=1e-12)


def test_initial_state_is_zero_batch_first_and_typed():
    net = make(np.float32, layers=2)
    state = net.initial_state(7)
    assert state.c.shape == state.h.shape == (7, 10)
    assert state.memory.shape == (7, 6, 4)
    assert state.link.shape == (7, 6, 6)
    assert state.read_weights.shape == (7, 2, 6)
    assert state.read_vectors.shape == (7, 2, 4)
    for field in state:
        assert field.dtype == np.float32 and not as_array(field).any()


def test_seed_decides_the_weights():
    def weights(seed, dtype):
        with chainer.using_config('dtype', dtype):
            net = DNC(3, 2, 6, 4, 2, 5, seed=seed)
        return np.concatenate([p.array.ravel() for p in net.params()])

    np.testing.assert_allclose(weights(1, np.float32), weights(1, np.float64), rtol=1e-6)
    assert (weights(1, np.float64) != weights(2, np.float64)).any()


def test_forget_bias_is_one():
    bias = DNC(3, 2, 6, 4, 2, 5).gates[0].b.array
    np.testing.assert_array_equal(bias[5:10], 1)
    assert bias.sum() == 5


def test_npz_round_trip(tmp_path, rng):
    net, other = make(layers=2), dnc_case.make(9, layers=2)
    chainer.serializers.save_npz(tmp_path / 'net.npz', net)
    for param in other.params():
        param.array[...] = 0
    chainer.serializers.load_npz(tmp_path / 'net.npz', other)
    xs = rng.normal(size=(4, 2, 3))
    np.testing.assert_array_equal(net.sequence(xs)[0].array, other.sequence(xs)[0].array)


def test_trace_of_one_sequence(rng):
    net = make()
    xs = rng.normal(size=(5, 2, 3))
    both, single = net.trace(xs), net.trace(xs[:, 1])
    assert single['link'].shape == (5, 6, 6)
    assert single['read_modes'].shape == (5, 2, 3)
    assert single['output'].shape == (5, 2)
    for name, value in both.items():
        np.testing.assert_allclose(single[name], value[:, 1], atol=1e-12)


def test_bad_input_is_named():
    net = make()
    xs = np.zeros((4, 2, 3))
    with pytest.raises(ValueError, match=r'\(4, 2, 9\).*3'):
        net.sequence(np.zeros((4, 2, 9)))
    with pytest.raises(ValueError, match='at least 1'):
        net.sequence(xs[:0])
    with pytest.raises(ValueError, match='5 lanes but xs has 2'):
        net.sequence(xs, net.initial_state(5))
    with pytest.raises(ValueError, match='reset'):
        net.sequence(xs, reset=np.zeros((2, 4)))
    with pytest.raises(ValueError, match='quick'):
        net.sequence(xs, engine='quick')
    with pytest.raises(ValueError, match='memory_length is 0'):
        DNC(3, 2, 0, 4, 2, 5)
    with pytest.raises(ValueError, match='link_sparsity is 0'):
        DNC(3, 2, 6, 4, 2, 5, link_sparsity=0)
    with pytest.raises(ValueError, match='xi has 9'):
        parse_interface(Variable(np.zeros((1, 9))), 2, 4)

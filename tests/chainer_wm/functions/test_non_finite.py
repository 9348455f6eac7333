"""The search for the first value that is not finite."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from chainer_wm.functions.non_finite import NonFiniteError, check_parameters, find_non_finite


class Net(chainer.Chain):
    """Linear, a function, a child that runs once per time step."""

    def __init__(self, dtype, function=F.tanh):
        super().__init__()
        with self.init_scope(), chainer.using_config('dtype', dtype):
            self.encoder = L.Linear(3, 4)
            self.cell = L.Linear(4, 4)
            self.head = chainer.Sequential(L.Linear(4, 2))
        self.function = function

    def forward(self, xs):
        h = self.xp.zeros((xs.shape[1], 4), xs.dtype)
        for x in F.separate(xs):
            h = self.function(self.cell(h) + self.encoder(x))
        return F.sum(self.head(h) ** 2)


class FineForward(chainer.FunctionNode):
    """Identity whose gradient at step ``bad`` and before is infinite."""

    def __init__(self, bad):
        self.bad = bad

    def forward(self, inputs):
        return inputs

    def backward(self, indexes, grads):
        array = grads[0].array.copy()
        array[: self.bad + 1] = np.inf
        return (chainer.Variable(array),)


@pytest.fixture(params=['float32', 'float64'])
def dtype(request):
    return request.param


def make(dtype, steps=6):
    rng = np.random.default_rng(0)
    return Net(dtype), rng.standard_normal((steps, 2, 3)).astype(dtype)


def search(net, xs):
    with pytest.raises(NonFiniteError) as caught, find_non_finite(net):
        loss = net(xs)
        net.cleargrads()
        loss.backward()
    return caught.value


def test_finite_numbers_pass_and_stay_what_they_were(dtype):
    net, xs = make(dtype)
    bare = net(xs)
    net.cleargrads()
    bare.backward()
    gradients = {name: p.grad.copy() for name, p in net.namedparams()}
    with find_non_finite(net):
        watched = net(xs)
        net.cleargrads()
        watched.backward()
    assert watched.array == bare.array
    for name, param in net.namedparams():
        np.testing.assert_array_equal(param.grad, gradients[name])


def test_a_parameter_is_named_by_its_path(dtype):
    net, xs = make(dtype)
    net.head[0].W.array[1, 2] = np.nan
    error = search(net, xs)
    assert error.phase == 'forward'
    assert error.function == 'LinearFunction'
    assert error.link == 'Net/head/0 (Linear)'
    assert error.culprit.name == 'input 1 (Net/head/0/W)'
    assert error.culprit.first == error.culprit.last == (1, 2)
    assert error.culprit.dtype == dtype
    assert error.step is None
    assert 'came in' in str(error)


def test_an_input_is_named_with_its_time_step(dtype):
    net, xs = make(dtype)
    xs[3, 1, 0] = np.nan
    error = search(net, xs)
    assert error.culprit.name == 'input 0'
    assert error.culprit.first == (3, 1, 0)
    assert error.step == 3
    assert 'time step, where axis 0 is time: 3' in str(error)


def test_the_call_of_a_link_tells_the_step_of_a_loop(dtype):
    net, xs = make(dtype)
    # numbers too great for their product: found where they are used
    xs[4] = np.finfo(dtype).max
    net.encoder.W.array[...] = 2
    error = search(net, xs)
    assert error.link == 'Net/encoder (Linear)'
    assert error.call == 5
    assert error.culprit.name == 'output 0'
    assert 'arose' in str(error)


def test_an_overflow_is_laid_to_the_function_that_made_it(dtype):
    net, xs = make(dtype)
    net.function = F.exp
    net.cell.b.array[0] = 1000
    error = search(net, xs)
    assert error.function == 'exp'
    assert error.link == 'Net (Net)'
    assert error.culprit.name == 'output 0'
    assert error.culprit.bad == 2
    assert error.culprit.first == (0, 0)
    (before,) = error.inputs
    assert before.bad == 0
    assert before.high > 900
    assert 'beside it: input 0' in str(error)


def test_a_gradient_that_is_infinite_only_backwards(dtype):
    net, xs = make(dtype)
    extra = FineForward(bad=2)

    class Wrapped(Net):
        def forward(self, xs):
            (ys,) = extra.apply((F.tanh(chainer.Variable(xs)),))
            return super().forward(ys)

    net = Wrapped(dtype)
    error = search(net, xs)
    assert error.phase == 'backward'
    assert error.function == 'FineForward'
    assert error.link == 'Wrapped (Wrapped)'
    assert error.culprit.name == 'gradient of input 0'
    assert error.step == 2  # the first that backpropagation comes by
    assert {array.bad for array in error.inputs} == {0}


def test_a_gradient_made_of_functions_names_both(dtype):
    net, xs = make(dtype, steps=1)
    net.function = F.sqrt  # its gradient at 0 is 1 / 0
    for link in (net.encoder, net.cell):
        link.W.array[...] = 0
    error = search(net, xs)
    assert error.phase == 'backward'
    assert 'in the gradient of' in error.function
    assert error.link == 'Net (Net)'


def test_a_gradient_for_a_parameter_names_it(dtype):
    net, xs = make(dtype)
    loss = net(xs)
    with pytest.raises(NonFiniteError) as caught, find_non_finite(net):
        y = L.Linear.forward(net.head[0], np.ones((1, 4), dtype))
        y.grad = np.full((1, 2), np.nan, dtype)
        y.backward()
    assert caught.value.culprit.name == 'gradient of output 0'
    names = [array.name for array in caught.value.inputs]
    assert 'input 1 (Net/head/0/W)' in names
    assert np.isfinite(loss.array)


def test_parameters_are_looked_at_when_the_block_ends(dtype):
    net, _ = make(dtype)
    with pytest.raises(NonFiniteError) as caught, find_non_finite(net):
        net.cell.W.array[2, 1] = -np.inf
    assert caught.value.phase == 'update'
    assert caught.value.culprit.name == 'Net/cell/W'


def test_check_parameters_sees_what_the_optimizer_keeps(dtype):
    net, xs = make(dtype)
    optimizer = chainer.optimizers.Adam().setup(net)
    optimizer.update(net, xs)
    check_parameters(net)
    net.cell.W.update_rule.state['v'][0, 0] = np.inf
    with pytest.raises(NonFiniteError, match="optimizer's v of Net/cell/W"):
        check_parameters(net)


def test_new_parameters_and_those_not_yet_made_pass():
    assert np.isnan(L.Linear(3, 2).W.grad).all()
    check_parameters(L.Linear(3, 2), L.Linear(None, 2))


def test_links_outside_the_given_ones_are_still_told_apart(dtype):
    net, xs = make(dtype)
    net.encoder.W.array[0] = np.nan
    with pytest.raises(NonFiniteError) as caught, find_non_finite():
        net(xs)
    assert caught.value.link == 'Net/encoder (Linear)'
    assert caught.value.culprit.name == 'input 1'


def test_methods_of_links_are_told_apart_too(dtype):
    class Core(chainer.Chain):
        def sequence(self, xs):
            return F.exp(xs)

    class Model(chainer.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.core = Core()

        def loss(self, xs):
            return F.sum(self.core.sequence(xs) * 2)

    model = Model()
    x = chainer.Variable(np.zeros((2, 3), dtype))
    with pytest.raises(NonFiniteError) as caught, find_non_finite(model):
        model.loss(x + 1000)
    assert caught.value.link == 'Model/core (Core)'
    assert caught.value.call is None
    with pytest.raises(NonFiniteError) as caught, find_non_finite(model):
        loss = model.loss(x)
        loss.grad = np.array(np.nan, dtype)
        loss.backward()
    assert caught.value.link == 'Model (Model)'


def test_integers_and_missing_gradients_are_finite():
    with find_non_finite():
        x = chainer.Variable(np.ones((2, 3)))
        y = F.sum(F.select_item(x, np.array([0, 2])))
        y.backward()


def test_nothing_stays_behind_afterwards(dtype):
    net, xs = make(dtype)
    net.cell.W.array[...] = np.nan
    search(net, xs)
    assert not chainer.get_function_hooks()
    assert not chainer._get_link_hooks()
    assert np.isnan(net(xs).array)  # nobody looks any more


def test_a_search_inside_a_search(dtype):
    net, xs = make(dtype)
    net.cleargrads()
    with find_non_finite(net), find_non_finite(net):
        net(xs).backward()


def test_the_training_loop_fills_in_stage_and_snapshot():
    error = NonFiniteError('the loss is nan')
    assert str(error) == 'the loss is nan'
    error.stage, error.snapshot = 'model', 'runs/a/snapshot_7'
    assert 'stage: model' in str(error)
    assert 'snapshot: runs/a/snapshot_7' in str(error)


def test_details_are_checked():
    with pytest.raises(TypeError, match='colour'):
        NonFiniteError('x', colour='red')

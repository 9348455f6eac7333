"""Dependencies and packages; the rest of the metadata is in pyproject.toml.

``sh setup.sh`` (or any target of the Makefile) installs all of it. Chainer
7.8.1 cannot be built by ``pip install`` alone: see setup.sh.
"""

from setuptools import find_packages, setup

REQUIRED = [
    'chainer==7.8.1',
    'numpy>=1.22,<2',
    'setuptools>=68,<74',  # Chainer's own tests and checks: pkg_resources
    'gym==0.26.2',
    'vizdoom>=1.2.4,<2',
    'matplotlib>=3.5',
    'pillow>=9',
    'tqdm>=4',
    'numba>=0.58',
]

# CuPy 13 is the last with cuDNN and NumPy 1; it links cuDNN 8. The CUDA
# libraries come as wheels too, so that only the driver must be there.
GPU = [
    'cupy-cuda12x==13.6.0',
    'nvidia-cublas-cu12',
    'nvidia-cuda-nvrtc-cu12',
    'nvidia-cuda-runtime-cu12',
    'nvidia-cudnn-cu12==8.9.7.29',
    'nvidia-curand-cu12',
    'nvidia-cusolver-cu12',
    'nvidia-cusparse-cu12',
    'nvidia-nvjitlink-cu12',
]

# The compiler alone: enough to see that the kernels compile (make check-gpu).
NVRTC = GPU[:1] + [f'nvidia-cuda-{name}-cu12' for name in ('nvrtc', 'runtime')]

# Peers of the benchmark. The package named dnc, another peer, would hide
# ours: `make peers` puts them all into an environment of their own.
BENCH = ['cma>=3', 'torch>=2']

# Nearest-neighbour estimates of mutual information (experiments/dsprites_memory.py).
PROBES = ['scikit-learn>=1.3']

# CarRacing. Gym's own pins need a compiler; these wheels do not. EnvPool's game is 3 times as
# fast and large (740 MB with its assets).
CAR_GYM = ['box2d==2.3.10', 'pygame-ce>=2.5']
CAR = [*CAR_GYM, 'envpool>=1.2']

# The web page of `python -m chainer_wm.inspector PATH --serve PORT`.
INSPECTOR = ['starlette>=1.10', 'uvicorn>=0.54', 'websockets>=15']

# `python -m chainer_wm.inspector export` to Minari and TensorBoard.
EXPORT = ['h5py>=3', 'tensorboard>=2.10']

# Beyond one machine: --cluster plays on Ray.
CLUSTER = ['ray>=2.40']

# `mpiexec -n N python experiments/... --communicator naive` trains V and M on N processes.
PARALLEL = ['mpi4py>=4.1', 'mpich>=4.3']

DEV = [
    *PROBES,
    *CAR_GYM,
    *INSPECTOR,
    'httpx2>=2',
    'pytest>=7',
    'pytest-xdist>=3.7',
    'hypothesis>=6',
    'ruff>=0.6',
    'mypy>=1.8',
]

setup(
    packages=find_packages(include=['chainer_wm*', 'dnc*']),
    package_data={'chainer_wm': ['inspector/static/*'], 'dnc': ['cuda/*.cu']},
    install_requires=REQUIRED,
    extras_require={
        'gpu': GPU,
        'nvrtc': NVRTC,
        'bench': BENCH,
        'probes': PROBES,
        'car': CAR,
        'inspector': INSPECTOR,
        'export': EXPORT,
        'cluster': CLUSTER,
        'parallel': PARALLEL,
        'dev': DEV,
    },
)

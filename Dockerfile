# The CPU image: everything in a virtual environment, and Take Cover end to end by default.
#
#   docker build -t chainer-wm .
#   docker run --rm -v "$PWD/data:/chainer-wm/data" chainer-wm
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /chainer-wm
COPY setup.sh setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY dnc dnc
COPY chainer_wm chainer_wm
ENV PIP_NO_CACHE_DIR=1 MPLBACKEND=Agg
RUN EXTRAS=dev PYTHON=python3 sh setup.sh

COPY . .
# make compares dates: what was copied just now is not newer than what was installed
RUN touch .venv/.installed
CMD ["make", "demo"]

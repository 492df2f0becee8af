# pgrun in a container. What is installed is what constraints.txt says; runs go to the folder that is mounted.
#
#   docker build -t pgrun .
#   docker run --rm -v "$PWD":/work pgrun algo=ppo env=CartPole-v1
#   docker run --rm -v "$PWD":/work --gpus all pgrun algo=ppo env=CartPole-v1 device=cuda
#
# torch from the usual index brings CUDA's libraries (some GB; it runs without a card as well). For a small image
# without them, name the index of torch's CPU builds, as torch's installation page gives it:
#
#   docker build --build-arg TORCH_INDEX=https://… -t pgrun:cpu .

FROM python:3.12-slim

ARG TORCH_INDEX=""
ARG EXTRAS="mujoco"

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 NUMBA_CACHE_DIR=/tmp/numba MUJOCO_GL=egl

RUN apt-get update \
 && apt-get install -y --no-install-recommends libegl1 libgl1 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY constraints.txt ./
RUN pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY pgrun ./pgrun
COPY hydra_plugins ./hydra_plugins
COPY conf ./conf
RUN pip install -c constraints.txt ".[$EXTRAS]"

RUN useradd --create-home pgrun
USER pgrun
WORKDIR /work
ENTRYPOINT ["pgrun"]
CMD ["--help"]

# The environment of `make env`, for the CPU:
#   docker build -t mmdet_rankkd .
#   docker run --rm mmdet_rankkd rankkd demo
FROM python:3.12-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /mmdet_rankkd
COPY requirements requirements
COPY mmdet_rankkd mmdet_rankkd
COPY configs configs
COPY tools tools
COPY Makefile model-index.yml ./
# torch for the CPU only; the compiled mmcv goes with it.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1
RUN make env

FROM python:3.12-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 student
# g++ is for torch.compile, which the ranking loss uses on large inputs.
WORKDIR /mmdet_rankkd
COPY --from=build --chown=student /mmdet_rankkd /mmdet_rankkd
RUN mkdir work_dirs data checkpoints && chown student . work_dirs data checkpoints
USER 1000
ENV PATH=/mmdet_rankkd/.venv/bin:$PATH
CMD ["bash"]

# taskaware in a container. The default is for a CPU; for an NVIDIA GPU choose a build of torch with CUDA:
#   docker build --tag taskaware .
#   docker build --tag taskaware:gpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# A torch with CUDA brings CUDA's libraries with it, so the base is the same; the host needs NVIDIA's driver and its
# container toolkit (docker run --gpus all).
FROM python:3.12-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras, separated by commas: docker build --build-arg EXTRAS=report,pretrained
ARG EXTRAS=report,pretrained
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" --constraint /tmp/constraints.txt torch
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt \
        "taskaware[$EXTRAS] @ file://$(echo /wheels/taskaware-*.whl)" \
    && rm -r /wheels /tmp/constraints.txt
# Data, runs and models are mounted here; caches of libraries must be writable for any user.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["taskaware"]
CMD ["--help"]

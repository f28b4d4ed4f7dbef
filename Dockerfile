# unpaired on processors, installed from a wheel:
#   docker build --tag unpaired .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" unpaired demo
FROM python:3.11-slim AS wheel
COPY . /source
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist /source

FROM python:3.11-slim
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m pip install --no-cache-dir --index-url "$TORCH_INDEX" "$TORCH"
COPY --from=wheel /dist /tmp/dist
RUN python -m pip install --no-cache-dir /tmp/dist/*.whl && python -m pip check
RUN useradd --create-home unpaired && install --directory --owner unpaired /work
# With --user the process may be of a user without a name, whom torch asks the environment for.
ENV USER=unpaired HOME=/tmp
USER unpaired
WORKDIR /work
ENTRYPOINT ["unpaired"]
CMD ["--help"]

# Two stages by name: `shell` has what development takes, `echo` a server from a wheel. compose.yaml says how they are run.

FROM rust:1-bookworm AS shell
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv python3-dev make valgrind curl \
    && rm -rf /var/lib/apt/lists/*
RUN rustup component add clippy rustfmt
WORKDIR /mintws
CMD ["bash"]

FROM shell AS wheel
COPY . .
RUN python3 -m venv /build \
    && /build/bin/pip install --quiet "maturin>=1.9,<2" \
    && /build/bin/maturin build --release --locked --compatibility linux --interpreter python3 --out /wheels

FROM debian:bookworm-slim AS echo
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /mintws
COPY --from=wheel /wheels /wheels
RUN /mintws/bin/pip install --quiet /wheels/*.whl
USER nobody
EXPOSE 8765
ENTRYPOINT ["/mintws/bin/mintws"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]

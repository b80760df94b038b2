# In place of rust:… from the registry: the same folders and variables, with the compiler of this machine.
ARG BASE
FROM ${BASE}
# what the real one has of buildpack-deps, as far as crates with C in them need it
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl g++ gcc git libc6-dev make patch xz-utils \
 && rm -rf /var/lib/apt/lists/*
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY toolchain /usr/local/rustup/toolchains/here
RUN mkdir -p /usr/local/cargo/bin && ln -s /usr/local/rustup/toolchains/here/bin/* /usr/local/cargo/bin/
# crates.io stands in a folder
COPY vendor /usr/local/cargo/vendor
COPY rust.config.toml /usr/local/cargo/config.toml
RUN cargo --version && rustc --version

# syntax=docker/dockerfile:1
# The binary alone on a small image, run without root's rights. docs/INSTALLING.md says how it is used.
FROM rust:1.95-slim-trixie AS build
WORKDIR /source
COPY . .
# Named by `aludel --version`; the repository itself is not copied.
ARG ALUDEL_COMMIT=""
RUN cargo build --release --locked --package aludel

FROM debian:trixie-slim
# Certificates of the system, which requests to teachers and to the Hub are checked by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /source/target/release/aludel /usr/local/bin/aludel
RUN useradd --uid 1000 --create-home aludel && mkdir /work && chown aludel:aludel /work
USER aludel
WORKDIR /work
ENTRYPOINT ["aludel"]
CMD ["--help"]

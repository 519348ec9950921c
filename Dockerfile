# Two images from one file:
#   docker build --target meterflow -t meterflow .
#   docker build --target temporal-server -t meterflow-temporal .

FROM golang:1.26-bookworm AS source
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
WORKDIR /src

# The Temporal server first, and from its own folder only: it takes minutes, and changes of Meterflow don't touch it.
FROM source AS build-temporal-server
COPY tools/temporal-server/ ./
RUN go build -ldflags "-s -w" -o /out/temporal-server .

FROM source AS build-meterflow
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/meterflow ./cmd/meterflow

FROM debian:bookworm-slim AS base
# Time zones of sites; certificates of message and payment providers.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/meterflow meterflow
WORKDIR /var/lib/meterflow
USER meterflow

FROM base AS temporal-server
COPY --from=build-temporal-server /out/temporal-server /usr/local/bin/temporal-server
EXPOSE 7233
ENTRYPOINT ["temporal-server"]

FROM base AS meterflow
COPY --from=build-meterflow /out/meterflow /usr/local/bin/meterflow
EXPOSE 8080
ENTRYPOINT ["meterflow"]
CMD ["serve"]

# docker build -f infra/containers/intercept.Dockerfile -t countersign-intercept .
# The proxy's program beside nft, for the init container that redirects a pod's connections: it runs as root with NET_ADMIN, once, and ends.
ARG NODE=docker.io/library/node:26-trixie-slim

FROM ${NODE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY LICENSE tsconfig.json ./
COPY infra ./infra
COPY proxy ./proxy
COPY ca ./ca
RUN node infra/containers/image.ts proxy /image

FROM ${NODE}
RUN apt-get update && apt-get install -y --no-install-recommends nftables && rm -rf /var/lib/apt/lists/*
COPY --from=build /image/app /app
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/countersign-proxy.js"]

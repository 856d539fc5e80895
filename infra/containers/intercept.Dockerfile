# docker build -f infra/containers/intercept.Dockerfile -t countersign-intercept .
# The proxy's program beside nft, for the init container that redirects a pod's connections: it runs as root with NET_ADMIN, once, and ends.
ARG NODE=docker.io/library/node:26-trixie-slim

FROM ${NODE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY LICENSE tsconfig.json ./
COPY infra/bundle.ts ./infra/
COPY infra/containers ./infra/containers
# Of the CA what both share, and nothing else.
COPY ca/pki ./ca/pki
COPY ca/contract ./ca/contract
COPY ca/settings ./ca/settings
COPY ca/policy/decide.ts ca/policy/parse.ts ca/policy/http-path.ts ca/policy/id-pattern.ts ./ca/policy/
COPY proxy ./proxy
RUN node infra/containers/image.ts proxy /image

FROM ${NODE}
RUN apt-get update && apt-get install -y --no-install-recommends nftables && rm -rf /var/lib/apt/lists/*
COPY --from=build /image/app /app
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/countersign-proxy.js"]

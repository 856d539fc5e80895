# docker build -f infra/containers/proxy.Dockerfile -t countersign-proxy .
ARG NODE=docker.io/library/node:26-trixie-slim
ARG BASE=gcr.io/distroless/cc-debian13:nonroot

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
RUN node infra/containers/image.ts proxy /image \
 && install -D -t /image/usr/local/bin /usr/local/bin/node \
 && install -D -m 644 -t /image/usr/lib /usr/lib/*-linux-gnu/libatomic.so.1

# One file besides Node.js: no shell, no package, no root, nothing writable. Run it with --read-only.
FROM ${BASE}
COPY --from=build /image/usr /usr
COPY --from=build /image/app /app
USER 65532:65532
EXPOSE 4143
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/countersign-proxy.js"]

# docker build -f infra/containers/ca.Dockerfile -t countersign .
ARG NODE=docker.io/library/node:26-trixie-slim
ARG BASE=gcr.io/distroless/cc-debian13:nonroot

FROM ${NODE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY LICENSE tsconfig.json ./
COPY infra/bundle.ts ./infra/
COPY infra/containers ./infra/containers
COPY migrations ./migrations
COPY ca ./ca
RUN node infra/containers/image.ts ca /image \
 && install -D -t /image/usr/local/bin /usr/local/bin/node \
 && install -D -m 644 -t /image/usr/lib /usr/lib/*-linux-gnu/libatomic.so.1

# No shell, no package manager, no root. Writable is /data alone: run it with --read-only.
FROM ${BASE}
COPY --from=build /image/usr /usr
COPY --from=build /image/app /app
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
ENV COUNTERSIGN_DATA_DIR=/data
VOLUME /data
EXPOSE 8443
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/countersign.js"]
CMD ["serve", "--listen", "*:8443"]

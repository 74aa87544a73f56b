# The operator's image in two stages: packages are installed in one that is thrown away, and run in one with Python and
# nothing else: no shell, no pip, no package manager. Both Pythons are 3.11 on Debian 12, so what was built fits. Packages
# are pinned by hash, base images by digest; whoever raises a digest raises it here and nowhere else.
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS packages
COPY requirements-operator.lock /build/
# Wheels only: nothing of a package runs while it is installed. --target leaves pip itself behind.
RUN ["python", "-m", "pip", "install", "--no-cache-dir", "--no-compile", "--no-deps", "--only-binary=:all:", \
     "--require-hashes", "--target=/srv/packages", "-r", "/build/requirements-operator.lock"]
COPY operator/modelrollout /srv/operator/modelrollout
# Compiled once here, because the root is read-only there.
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/srv"]

FROM gcr.io/distroless/python3-debian12:nonroot@sha256:7d1042ce588ab97019fe95c24ffca7bc5a82ccdac572511d5e09bda4435c89c5 AS operator
LABEL org.opencontainers.image.title="modelrollout" \
      org.opencontainers.image.description="Releases new versions of machine-learning models safely" \
      org.opencontainers.image.version="0.1.0"
COPY --from=packages /srv /srv
ENV PYTHONPATH=/srv/operator:/srv/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["/usr/bin/python3", "-m", "modelrollout.controller"]

# The demo's model server and users, for `make demo CLUSTER=kind`.
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS demo
COPY requirements.lock /srv/
RUN pip install --no-cache-dir --require-hashes -r /srv/requirements.lock
COPY localcluster /srv/localcluster
COPY demo /srv/demo
WORKDIR /srv
USER 65532:65532

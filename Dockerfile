# The operator's image: Python, the locked packages, the package itself. It runs as nobody, with a read-only root.
FROM python:3.11-slim AS operator
COPY requirements-operator.lock /srv/
RUN pip install --no-cache-dir --require-hashes -r /srv/requirements-operator.lock
COPY operator /srv/operator
ENV PYTHONPATH=/srv/operator PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "modelrollout.controller"]

# The demo's model server and users, for `make demo CLUSTER=kind`.
FROM python:3.11-slim AS demo
COPY requirements.lock /srv/
RUN pip install --no-cache-dir --require-hashes -r /srv/requirements.lock
COPY localcluster /srv/localcluster
COPY demo /srv/demo
WORKDIR /srv
USER 65532:65532

# An image of the server and its dependencies, without build tools, tests or configuration.

# docs/operating.md shows how to pin this image by digest.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
COPY requirements.txt .
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
# For a DATABASE_URL that begins with mysql://, build with --build-arg MARIADB=true.
ARG MARIADB=false
COPY requirements/mariadb.txt mariadb.txt
RUN if [ "$MARIADB" = true ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends gcc libc6-dev pkg-config libmariadb-dev \
        && /venv/bin/pip install --no-cache-dir --require-hashes -r mariadb.txt; \
    fi

FROM ${PYTHON_IMAGE}
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DEBUG=false \
    SERVE_ADDRESS=0.0.0.0:8000
# The library that the MariaDB driver loads.
ARG MARIADB=false
RUN if [ "$MARIADB" = true ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends libmariadb3 \
        && rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /app
COPY --from=build /venv /venv
COPY manage.py ./
COPY almaFintech almaFintech
COPY accounts accounts
COPY audit audit
COPY login login
RUN python -m compileall -q . && useradd --system --uid 10001 --no-create-home wallet
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os; from urllib.request import urlopen; urlopen('http://127.0.0.1:' + (os.environ.get('PORT') or '8000') + '/healthz', timeout=4)"]
# Checks the settings, migrates, and becomes the server, which shuts down gracefully on SIGTERM.
CMD ["python", "-m", "almaFintech.server"]

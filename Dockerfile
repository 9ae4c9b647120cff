# The service without an engine: it needs a model server (MNEME_LLM__BASE_URL) and, for more than one machine, PostgreSQL.
FROM node:22-bookworm-slim AS web
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY api/web/ api/web/
# The script only says so when npm failed; an image is not made without the libraries of the pages.
RUN python3 api/web/vendor.py && test -f api/web/static/vendor/lock.sha256

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/mneme && /opt/mneme/bin/pip install --no-cache-dir "uv>=0.11"
COPY requirements.lock ./
RUN /opt/mneme/bin/uv pip install --no-cache --python /opt/mneme/bin/python --require-hashes -r requirements.lock
COPY . .
COPY --from=web /src/api/web/static/vendor api/web/static/vendor
RUN /opt/mneme/bin/uv pip install --no-cache --python /opt/mneme/bin/python --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 mneme && install -d -o mneme /data
COPY --from=build /opt/mneme /opt/mneme
USER mneme
ENV PATH=/opt/mneme/bin:$PATH MNEME_HOME=/data MNEME_SERVER__HOST=0.0.0.0
# A new volume begins with what stands here: the encoder.
RUN mneme models pull minilm-l6
VOLUME /data
EXPOSE 8642
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8642/health', timeout=4)"]
ENTRYPOINT ["mneme"]
CMD ["serve"]

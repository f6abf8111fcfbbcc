# A guarded image server. Was linted (hadolint 2.15.1: nothing) and not built where it was written: no container daemon
# was at hand there.
#
#   docker build -t stanchion .                                                   CPU
#   docker build -t stanchion --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .      CUDA
#   docker run --read-only --tmpfs /tmp -v ./policy.yaml:/policy.yaml:ro -v audit:/var/log/stanchion \
#       -p 127.0.0.1:8000:8000 stanchion --policy /policy.yaml
ARG BASE=python:3.12-slim
FROM ${BASE}

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 HF_HOME=/models

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN pip install --constraint constraints.txt --extra-index-url "${TORCH_INDEX}" ".[server]" \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin stanchion \
    && mkdir -p /var/log/stanchion /models \
    && chown stanchion /var/log/stanchion /models

USER 10001
EXPOSE 8000
VOLUME ["/var/log/stanchion", "/models"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["stanchion", "serve", "--host", "0.0.0.0", "--port", "8000"]

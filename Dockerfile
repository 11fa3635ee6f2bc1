# What a run on Kubernetes needs beside its clone: the environment, git, and nothing of a run's own.
# PyTorch's wheels bring the CUDA libraries; the node brings the driver.
FROM python:3.11-slim-bookworm

# The C compiler is torch.compile's (train.compile), which builds what it has made at run time.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc git libc6-dev openssh-client \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/hoiclip
COPY requirements.lock ./
RUN python -m pip install --no-cache-dir --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY hoiclip hoiclip
RUN python -m pip install --no-cache-dir --no-deps .

RUN useradd --create-home --uid 1000 run
USER run
WORKDIR /home/run
ENV DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1 \
    PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY=false \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS=false

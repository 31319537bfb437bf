# Trains, and can test, as on any fresh machine: docker build -t formula-env . && docker run --rm -it formula-env
FROM python:3.13-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /formula-env
# What is installed changes less often than the sources.
COPY pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY formula_env formula_env
COPY agents agents
COPY gan gan
COPY tests/__init__.py tests/chromium.py tests/
RUN make .venv/ready
COPY . .
CMD ["make", "train"]

# The workbench in a container: by default it runs the jobs of /work/pipelines. docs/how_to/container.md says how to use it.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY workbench workbench
COPY notebooks notebooks
COPY pipelines pipelines
RUN python -m venv /opt/workbench \
    && /opt/workbench/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
RUN useradd --uid 1000 --create-home workbench \
    && install --directory --owner workbench /work
COPY --from=build /opt/workbench /opt/workbench
ENV PATH=/opt/workbench/bin:$PATH
USER workbench
WORKDIR /work
# SIGTERM ends `schedule serve` after the running job; allow it the time with --stop-timeout.
STOPSIGNAL SIGTERM
EXPOSE 9464
ENTRYPOINT ["workbench"]
CMD ["schedule", "serve", "--metrics-host", "0.0.0.0", "--metrics-port", "9464"]

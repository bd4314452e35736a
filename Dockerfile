# syntax=docker/dockerfile:1

# What the browser gets is built here and nowhere else; no Node reaches the image that runs.
FROM node:24-slim AS browser
WORKDIR /src/reading_portal
COPY reading_portal/web/package.json reading_portal/web/package-lock.json web/
COPY reading_portal/viewer/package.json reading_portal/viewer/package-lock.json viewer/
RUN npm ci --no-audit --no-fund --prefix web && npm ci --no-audit --no-fund --prefix viewer
COPY reading_portal/web web
COPY reading_portal/viewer viewer
RUN npm run build --prefix web && npm run build --prefix viewer

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements requirements
RUN python -m venv /opt/reading-center \
    && /opt/reading-center/bin/pip install --no-cache-dir --require-hashes -r requirements/build.lock \
    && /opt/reading-center/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md CHANGELOG.md ./
COPY storage storage
COPY worklist worklist
COPY dicom_node dicom_node
COPY reading_portal reading_portal
COPY center center
COPY --from=browser /src/reading_portal/static/vendor reading_portal/static/vendor
COPY --from=browser /src/reading_portal/static/viewer reading_portal/static/viewer
RUN /opt/reading-center/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/reading-center/bin/pip uninstall --yes uv hatchling editables

FROM python:3.13-slim
# A number, so that an orchestrator can see that it is not root.
RUN useradd --uid 10001 --create-home --home-dir /home/centre centre && install -d -o 10001 -g 10001 /data
COPY --from=build /opt/reading-center /opt/reading-center
ENV PATH=/opt/reading-center/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    READING_CENTER_DATA=/data \
    READING_CENTER_HTTP_HOST=0.0.0.0 \
    READING_CENTER_DICOM_HOST=0.0.0.0
USER 10001
VOLUME /data
EXPOSE 8080 11112 2762
STOPSIGNAL SIGTERM
ENTRYPOINT ["reading-center"]
CMD ["serve"]

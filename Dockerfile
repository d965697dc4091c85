# The service and the page: docker build -t mobilesam . && docker run -p 8000:8000 mobilesam
# It prints its token; -e MOBILESAM_TOKEN=... sets one. Nothing of it needs to be written: --read-only --tmpfs /tmp works.

FROM python:3.13-slim-trixie AS build
WORKDIR /build
RUN python -m venv /opt/mobilesam
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN /opt/mobilesam/bin/pip install --no-cache-dir -c constraints.txt ".[serve]" \
    && /opt/mobilesam/bin/pip uninstall --yes pip

FROM python:3.13-slim-trixie
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin mobilesam
COPY --from=build /opt/mobilesam /opt/mobilesam
COPY --chmod=755 deploy/serve.sh /usr/local/bin/serve
ENV PATH=/opt/mobilesam/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# Options of `mobilesam serve` may follow the name of the image; --port is not one of them, since the check above asks 8000.
ENTRYPOINT ["serve"]
